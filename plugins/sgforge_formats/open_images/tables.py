"""CSV files of Open Images: looked through once, rows read when their image's turn comes; names of classes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from sgforge.errors import ConfigError
from sgforge_formats.reading.json_rows import opened
from sgforge_formats.reading.jsonlists import read_bytes_at

__all__ = ["CsvTable", "read_names"]

_LONGEST = 1 << 20


@attrs.frozen(eq=False)
class CsvTable:
    """A table by image: `images` have the runs of lines (first line number, first byte, last byte) that are theirs."""

    name: str
    columns: Sequence[str]
    images: Mapping[str, list[tuple[int, int, int]]]
    _stream: BinaryIO

    @classmethod
    def of(cls, stream: BinaryIO, name: str, needed: Sequence[str]) -> CsvTable:
        """The table of a file whose head line has these columns; another file is a `ConfigError`."""
        head = stream.readline(_LONGEST).decode("utf-8", "replace")
        columns = next(csv.reader([head]), [])
        missing = [column for column in needed if column not in columns]
        if missing or columns[:1] != [needed[0]]:
            raise ConfigError(
                f"{name} is no file of Open Images: its head line must begin with {needed[0]} and have "
                f"{', '.join(missing or needed)}"
            )
        images: dict[str, list[tuple[int, int, int]]] = {}
        last, begin, first, number = None, stream.tell(), 2, 1
        at = begin
        while line := stream.readline(_LONGEST):
            number += 1
            image_id = line.partition(b",")[0].strip()
            if image_id != last:
                if last:
                    images.setdefault(last.decode("utf-8", "replace"), []).append((first, begin, at))
                last, begin, first = image_id, at, number
            at += len(line)
        if last:
            images.setdefault(last.decode("utf-8", "replace"), []).append((first, begin, at))
        return cls(name, columns, images, stream)

    def rows(self, image_id: str) -> Iterator[tuple[int, Mapping[str, str]]]:
        """The rows of an image with their line numbers; missing cells are empty."""
        for first, start, stop in self.images.get(image_id, ()):
            text = read_bytes_at(self._stream, start, stop).decode("utf-8", "replace")
            for number, cells in enumerate(csv.reader(io.StringIO(text, newline="")), first):
                cells.extend([""] * (len(self.columns) - len(cells)))
                yield number, dict(zip(self.columns, cells, strict=False))


def read_names(path: Path) -> dict[str, str]:
    """Names by MID; another file is a `ConfigError`."""
    with opened(path) as stream:
        rows = list(csv.reader(io.TextIOWrapper(stream, "utf-8", "replace", newline="")))
    names = {row[0]: row[1] for row in rows if len(row) > 1 and row[1]}
    if not names:
        raise ConfigError(f"{path.name} holds no names of classes: each line must be MID,name")
    return names
