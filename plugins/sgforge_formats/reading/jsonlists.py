"""Large JSON files read list by list and row by row: what is in memory is a block of rows, never the file.

A file is an object whose values are lists ({"images": [...], "annotations": [...]}), or one list. Rows are found by
their brackets and commas, many at once, then parsed. A row that is no JSON costs itself, as long as its brackets pair
up; a file that ends in the middle gives every row before its end.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, BinaryIO, Final

import attrs
import numpy as np
import numpy.typing as npt
import orjson

from sgforge.jsonl.keys import doubled_key

__all__ = ["BadRow", "JsonLists", "NotJsonError", "RowBlock", "parse_row", "read_bytes_at", "row_breaks"]

_BLOCK: Final = 1 << 20
_LARGEST_ROW: Final = 1 << 29
_LONGEST_NAME: Final = 1 << 20
_SHORT: Final = 200

_QUOTE, _BACKSLASH, _COMMA = (ord(sign) for sign in '"\\,')
_STRUCTURE: Final = np.zeros(256, np.bool_)
_STRUCTURE[[ord(sign) for sign in "{}[],"]] = True
_STEP: Final = np.zeros(256, np.int32)
_STEP[[ord(sign) for sign in "{["]] = 1
_STEP[[ord(sign) for sign in "}]"]] = -1

_KEY: Final = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*(?=\S)', re.DOTALL)
_NEXT: Final = re.compile(rb"\s*([,}])")
_SPACE: Final = re.compile(rb"\s*(?=\S)")


class NotJsonError(ValueError):
    """A file that is no JSON at some place, or ends in the middle; what came before can be used."""


@attrs.frozen
class BadRow:
    """What stands for a row that is no JSON."""

    detail: str


@attrs.frozen(eq=False, slots=False)
class RowBlock:
    """Some rows of one list: the name of the list (None: the file itself is it), the place of the first row in it.

    `starts`, `stops`: (N,) int64, the bytes of each row in the file; `data`: those of all. `are_members`: each is an
    object of one name. `table`: the rows as columns, where a reader that knows their form could read them so.
    """

    key: str | None
    first: int
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    data: bytes
    are_members: bool = False
    table: Any = None

    @cached_property
    def values(self) -> Sequence[Any]:
        """The parsed rows, a `BadRow` where one is no JSON."""
        values: Any = None
        if not self.are_members:
            try:
                values = orjson.loads(b"[%b]" % self.data)
            except orjson.JSONDecodeError:
                values = None
        if values is None or len(values) != len(self.stops):
            form = b"{%b}" if self.are_members else b"%b"
            values = [parse_row(form % self.text(at)) for at in range(len(self.stops))]
        if self.are_members or doubled_key(b"[%b]" % self.data, values) is None:
            return values  # type: ignore[no-any-return]
        return [single_keyed(value, self.text(at)) for at, value in enumerate(values)]

    def text(self, at: int) -> bytes:
        """Row `at` as it stands in the file."""
        base = int(self.starts[0])
        return self.data[int(self.starts[at]) - base : int(self.stops[at]) - base]

    def part(self, start: int, stop: int) -> RowBlock:
        """Rows start to stop."""
        base = int(self.starts[0])
        return RowBlock(
            key=self.key,
            first=self.first + start,
            starts=self.starts[start:stop],
            stops=self.stops[start:stop],
            data=self.data[int(self.starts[start]) - base : int(self.stops[stop - 1]) - base],
            are_members=self.are_members,
        )

    def row(self, at: int) -> Any:
        """Row `at` parsed by itself."""
        text = self.text(at)
        return single_keyed(parse_row(text), text)

    def exact(self, at: int) -> Any:
        """Row `at` with whole numbers of any length as they stand; in `values` those beyond 64 bits are floats."""
        return json.loads(self.text(at))


def parse_row(data: bytes) -> Any:
    """The value of one row, NaN and infinities (which JSON does not know, but Python writes) included.

    One that is no JSON is a `BadRow`.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        return BadRow(f"is not JSON: {error}"[:_SHORT])


def single_keyed(value: Any, text: bytes) -> Any:
    """The value of a row; a `BadRow` in its place where a key stands twice in one object of it."""
    twice = doubled_key(text, value)
    return value if twice is None else BadRow(f"has the key {twice!r} twice in one object"[:_SHORT])


def read_bytes_at(stream: BinaryIO, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of a file on disk, wherever its reading position is."""
    return os.pread(stream.fileno(), stop - start, start)


class JsonLists:
    """The lists of a file in UTF-8, from where it is; iterate to get their rows, block by block, in its order.

    With `members` every member of an object is a row, an object of one. `keys` are the names at the top seen so far,
    `other_kinds` those of them whose value is neither list nor null. Bytes that fit no JSON at the top, and an end in
    the middle, raise `NotJsonError` after all that could be read was given.
    """

    def __init__(self, stream: BinaryIO, *, members: bool = False) -> None:
        self._members_are_rows = members
        self._at_once = _BLOCK
        self._stream = stream
        self._data = b""
        self._start = stream.tell()
        self.keys: list[str] = []
        self.other_kinds: list[str] = []

    def __iter__(self) -> Iterator[RowBlock]:
        self._skip_space("the file is empty")
        opening = self._data[:1]
        if opening == b"[":
            self._drop(1)
            yield from self._rows(None)
        elif opening == b"{":
            self._drop(1)
            yield from self._rows(None) if self._members_are_rows else self._members()
        else:
            raise NotJsonError(f"it begins with {self._data[:20]!r}")
        while not self._data.strip():
            if not self._more():
                return
        raise NotJsonError(f"more stands after its end, at byte {self._start}")

    def _members(self) -> Iterator[RowBlock]:
        while (key := self._key()) is not None:
            if key in self.keys:
                raise NotJsonError(f"the name {key!r} stands twice at its top, again at byte {self._start}")
            self.keys.append(key)
            if self._data[:1] == b"[":
                self._drop(1)
                yield from self._rows(key)
            else:
                if self._data[:1] != b"n":  # of null
                    self.other_kinds.append(key)
                self._skip_value(key)
            if self._match(_NEXT, f"it ends after {key!r}").group(1) == b"}":
                return

    def _key(self) -> str | None:
        """The name of the next member; None at the end of an empty object, which is taken."""
        self._skip_space(f"it ends after {self.keys[-1]!r}" if self.keys else "it ends after its first byte")
        if self._data[:1] == b"}" and not self.keys:
            self._drop(1)
            return None
        text = self._match(_KEY, f"a name is expected at byte {self._start}").group(1)
        value = parse_row(text)
        if not isinstance(value, str):
            raise NotJsonError(f"a name is expected at byte {self._start - len(text)}")
        return value

    def _rows(self, key: str | None) -> Iterator[RowBlock]:
        """The rows of a list, whose opening bracket has been taken; takes its closing one."""
        first = 0
        while True:
            blocks = self._blocks_at_sight(key, first)
            if blocks:
                first += sum(len(block.stops) for block in blocks)
                yield from blocks
                self._drop(int(blocks[-1].stops[-1]) - self._start + 1)
                self._more()
                continue
            commas, end = row_breaks(self._data)
            stops = commas if end < 0 else np.append(commas, end)
            if end >= 0 and not self._data[_after(commas) : end].strip():
                stops = commas  # an empty list, or a comma before the bracket
            if len(stops):
                block = self._block(key, first, stops)
                first += len(block.stops)
                yield block
            if end >= 0:
                return self._drop(end + 1)
            self._drop(_after(commas))
            where = f"in {key}[{first}]" if key else f"in row {first}"
            if len(self._data) > _LARGEST_ROW:
                raise NotJsonError(f"{where} has more than {_LARGEST_ROW >> 20} MB: refused")
            if not self._more():
                raise NotJsonError(f"it ends {where}, at byte {self._start + len(self._data)}")

    def _blocks_at_sight(self, key: str | None, first: int) -> Sequence[RowBlock]:
        """The next rows, by a reader that knows their form; none where it is not sure of them."""
        return ()

    def _block(self, key: str | None, first: int, stops: npt.NDArray[np.int64]) -> RowBlock:
        starts = np.concatenate([[0], stops[:-1] + 1])
        return RowBlock(
            key=key,
            first=first,
            starts=starts + self._start,
            stops=stops + self._start,
            data=self._data[: int(stops[-1])],
            are_members=self._members_are_rows,
        )

    def _skip_value(self, key: str) -> None:
        """Pass over a value at the top that is no list."""
        size = _SHORT
        while True:
            commas, end = row_breaks(self._data[:size])
            if len(commas) or end >= 0:
                return self._drop(min([int(at) for at in (*commas[:1], end) if at >= 0]))
            if size >= len(self._data) and not self._more():
                raise NotJsonError(f"it ends in the middle of {key!r}")
            size *= 8

    def _skip_space(self, otherwise: str) -> None:
        self._match(_SPACE, otherwise)

    def _match(self, pattern: re.Pattern[bytes], otherwise: str) -> re.Match[bytes]:
        """What stands next, taken; nothing of this form is a `NotJsonError`."""
        while (found := pattern.match(self._data)) is None:
            if len(self._data) > _LONGEST_NAME or not self._more():
                raise NotJsonError(otherwise)
        self._drop(found.end())
        return found

    def _drop(self, count: int) -> None:
        self._data = self._data[count:]
        self._start += count

    def _more(self) -> bool:
        """Read on, as much again as is held, so that a long row is looked through a few times only."""
        block = self._stream.read(max(self._at_once, len(self._data)))
        self._data += block
        return bool(block)


def _after(commas: npt.NDArray[np.int64]) -> int:
    return int(commas[-1]) + 1 if len(commas) else 0


def row_breaks(data: bytes) -> tuple[npt.NDArray[np.int64], int]:
    """Where the commas between the values of a list (or an object) stand, and its closing bracket (-1: not here).

    `data` begins inside of the list, at a value or before a comma.
    """
    signs = np.frombuffer(data, np.uint8)
    quotes = signs == _QUOTE
    if b"\\" in data:
        quotes[_escaped(signs)] = False
    inside = np.bitwise_xor.accumulate(quotes)
    places = np.flatnonzero(_STRUCTURE[signs] & ~inside)
    kinds = signs[places]
    depth = np.cumsum(_STEP[kinds])
    closing = np.flatnonzero(depth < 0)
    count = int(closing[0]) if len(closing) else len(places)
    commas = places[:count][(depth[:count] == 0) & (kinds[:count] == _COMMA)]
    return commas, int(places[count]) if len(closing) else -1


def _escaped(signs: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The places after an odd number of backslashes: what stands there belongs to the text."""
    places = np.flatnonzero(signs == _BACKSLASH)
    begins = places[np.diff(places, prepend=-2) != 1]
    ends = places[np.diff(places, append=len(signs) + 1) != 1]
    after = ends[(ends - begins) % 2 == 0] + 1
    return after[after < len(signs)]
