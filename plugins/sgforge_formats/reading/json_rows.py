"""The rows of JSON files one by one: of a list, of lists in an object, of an object whose members are rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge.stages import SourceFailure
from sgforge.utf8 import open_utf8
from sgforge_formats.reading.jsonlists import BadRow, JsonLists, NotJsonError, RowBlock, parse_row, read_bytes_at

__all__ = ["JsonRow", "RowIndex", "TypedReading", "json_members", "json_rows", "opened"]


@attrs.frozen
class JsonRow:
    """One row: the list it stands in (None: the file is the list), its place there, and its value."""

    key: str | None
    position: int
    value: Any
    start: int = 0
    stop: int = 0

    @property
    def where(self) -> str:
        """Its place in words."""
        return f"{self.key or ''}[{self.position}]"


@attrs.frozen
class TypedReading:
    """A reader of rows of one form: the lists of the file, and what the rows of a block with a table are, by place.

    Rows that it leaves out are parsed.
    """

    lists: JsonLists
    read: Callable[[RowBlock], Mapping[int, Any]]


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file as UTF-8 on disk; one that cannot be opened is a `ConfigError`."""
    try:
        with open_utf8(path, on_disk=True) as stream:
            yield stream
    except OSError as error:
        raise ConfigError(f"{path.name}: {error.strerror or error}: check the option that names it") from error


def json_members(stream: BinaryIO, name: str, what: str) -> Iterator[JsonRow | SourceFailure]:
    """The members of a JSON object one by one: rows whose `key` is the member's name.

    A member that is no JSON is a failure (bad-row), and so is a file that ends in the middle (cut-off).
    """
    seen = False
    lists = JsonLists(stream, members=True)
    try:
        for block in lists:
            for at, value in enumerate(block.values):
                position = block.first + at
                if isinstance(value, BadRow) or len(value) != 1:
                    detail = value.detail if isinstance(value, BadRow) else "it is no member of an object"
                    yield SourceFailure(f"{name}: member {position}", "bad-row", detail)
                    continue
                seen = True
                ((key, row),) = value.items()
                yield JsonRow(
                    key=key, position=position, value=row, start=int(block.starts[at]), stop=int(block.stops[at])
                )
    except NotJsonError as error:
        if not seen:
            raise ConfigError(f"{name} is no file of {what}: it is not JSON, or was cut off: {error}") from None
        yield SourceFailure(name, "cut-off", f"{name} is cut off, what stands before is read: {error}")


def json_rows(
    stream: BinaryIO, name: str, what: str, keys: Sequence[str | None] = (None,), typed: TypedReading | None = None
) -> Iterator[JsonRow | SourceFailure]:
    """The rows of the lists `keys` of a JSON file, in its order; `what` names the format for the error.

    A row that is no JSON is a failure (bad-row), and so is a file that ends in the middle (cut-off). A file that has
    none of the lists is a `ConfigError`. With `typed`, what it reads of a row is its value.
    """
    lists = JsonLists(stream) if typed is None else typed.lists
    seen = False
    try:
        for block in lists:
            if block.key not in keys:
                if block.key is None:
                    raise ConfigError(
                        f"{name} is no file of {what}: it is a list, without {' and '.join(map(str, keys))}"
                    )
                continue
            seen = True
            read = {} if typed is None or block.table is None else typed.read(block)
            for at, value in enumerate(_values(block, read)):
                row = JsonRow(
                    key=block.key,
                    position=block.first + at,
                    value=value,
                    start=int(block.starts[at]),
                    stop=int(block.stops[at]),
                )
                if isinstance(value, BadRow):
                    yield SourceFailure(f"{name}: {row.where}", "bad-row", value.detail)
                else:
                    yield row
    except NotJsonError as error:
        if not seen:
            raise ConfigError(f"{name} is no file of {what}: it is not JSON, or was cut off: {error}") from None
        yield SourceFailure(name, "cut-off", f"{name} is cut off, what stands before is read: {error}")
    missing = [key for key in keys if key is not None and key not in lists.keys]
    if not seen and (missing or lists.keys):
        shown = ", ".join(lists.keys[:6]) or "nothing"
        wanted = " and ".join(repr(key) for key in missing) or "a list of rows at its top"
        raise ConfigError(f"{name} is no file of {what}: it needs {wanted}, and has {shown}")


def _values(block: RowBlock, read: Mapping[int, Any]) -> Iterator[Any]:
    """The values of the rows of a block, parsed where they were not read already."""
    if not read:
        yield from block.values
        return
    for at in range(len(block.stops)):
        yield read[at] if at in read else block.row(at)


class RowIndex:
    """Where the row of each image stands in a file of one row an image; rows are read when they are asked for."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self.name = name
        self._places: dict[str, int] = {}
        self._spans: list[tuple[int, int, int]] = []
        self._table = np.zeros((0, 3), np.int64)

    def add(self, image_id: str, row: JsonRow) -> bool:
        """Remember the row of an image; False if the image has one already."""
        if image_id in self._places:
            return False
        self._places[image_id] = len(self._places)
        self._spans.append((row.position, row.start, row.stop))
        return True

    def seal(self) -> None:
        """Pack what was added: 24 bytes an image instead of objects."""
        self._table = np.array(self._spans, np.int64).reshape(-1, 3)
        self._spans = []

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._places

    def row(self, image_id: str) -> JsonRow | None:
        """The row of an image, None if it has none here."""
        place = self._places.get(image_id)
        if place is None:
            return None
        position, start, stop = self._table[place].tolist()
        value = parse_row(read_bytes_at(self._stream, start, stop))
        return JsonRow(key=None, position=position, value=value, start=start, stop=stop)
