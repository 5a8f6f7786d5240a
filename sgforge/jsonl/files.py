"""Graph JSONL files: read line by line, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from sgforge.durable import output_file
from sgforge.errors import ConfigError, GraphError
from sgforge.graph import Sample
from sgforge.jsonl.objects import GraphLine, dump_sample, parse_graph_line
from sgforge.utf8 import open_utf8

__all__ = ["numbered_lines", "read_jsonl", "read_lines", "write_jsonl"]

_LONGEST: Final = 1 << 28
"""Bytes of a line, at most: an image of a million masks has fewer."""


def numbered_lines(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line) of every line that is not blank, in UTF-8; the file may be packed by gzip, or UTF-16.

    A file that cannot be read is a `GraphError`.
    """
    try:
        with open_utf8(path) as file:
            for number, line in enumerate(iter(partial(file.readline, _LONGEST), b""), 1):
                if len(line) == _LONGEST:
                    raise GraphError(f"{Path(path).name}:{number}: a line of more than {_LONGEST:,} bytes")
                if not line.isspace():
                    yield number, line
    except ConfigError as error:
        raise GraphError(str(error)) from None
    except OSError as error:
        raise GraphError(f"{path}: {error.strerror or error}") from error


def read_lines(path: Path | str) -> Iterator[GraphLine]:
    """Every line of a graph JSONL file; a broken rule is a `GraphError` naming file, line and JSON path."""
    name = Path(path).name
    seen: dict[str, int] = {}
    for number, line in numbered_lines(path):
        parsed = parse_graph_line(line, f"{name}:{number}")
        first = seen.setdefault(parsed.sample.image_id, number)
        if first != number:
            raise GraphError(f"{name}:{number}: {duplicate_text(parsed.sample.image_id, first)}")
        yield parsed


def duplicate_text(image_id: str, first: int) -> str:
    """What is wrong with the second line of an image id, `first` being the number of the first."""
    return f"image_id: {image_id!r} stands on line {first} already"


def read_jsonl(path: Path | str) -> Iterator[Sample]:
    """The samples of a graph JSONL file, in order; as `read_lines`, without the reasons of failed predictions."""
    for line in read_lines(path):
        yield line.sample


def write_jsonl(samples: Iterable[Sample | GraphLine], path: Path | str) -> int:
    """Write samples as graph JSONL and return how many; the file appears, durable, only when all are written."""
    try:
        with output_file(Path(path)) as file:
            return _write(samples, file)
    except OSError as error:
        raise GraphError(f"{path}: {error.strerror or error}") from error


def _write(samples: Iterable[Sample | GraphLine], file: BinaryIO) -> int:
    number = 0
    for item in samples:
        line = item if isinstance(item, GraphLine) else GraphLine(item)
        file.write(dump_sample(line.sample, line.failed))
        number += 1
    return number
