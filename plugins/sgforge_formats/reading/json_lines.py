"""Files of one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from sgforge.stages import SourceFailure
from sgforge_formats.reading.json_rows import JsonRow
from sgforge_formats.reading.jsonlists import BadRow, parse_row

__all__ = ["json_lines"]

_LONGEST: Final = 1 << 28


def json_lines(stream: BinaryIO, name: str) -> Iterator[JsonRow | SourceFailure]:
    """The rows of a file, line by line; one that is no JSON is a failure (bad-row), empty ones are passed over."""
    number = 0
    while line := stream.readline(_LONGEST):
        number += 1
        if not line.strip():
            continue
        value = parse_row(line)
        if isinstance(value, BadRow):
            yield SourceFailure(f"{name}:{number}", "bad-row", value.detail)
        else:
            yield JsonRow(None, number, value)
