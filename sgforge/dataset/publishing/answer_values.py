"""Values of new answers until a snapshot is written: kept in a file as they come, and which image has which."""

from __future__ import annotations

import math
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import numpy as np

from sgforge.columns.declared import FILE_CELL, Column
from sgforge.columns.ragged import ends_of
from sgforge.errors import DatasetError
from sgforge.packed import ValueBlock

__all__ = ["AnswerValues", "Filled", "FilledImage", "Readable"]

_LENGTH_BYTES: Final = 4


class Readable(Protocol):
    """Rows that are read span by span."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop."""
        ...


class AnswerValues:
    """Values of new answers in the order in which they came, in a file without a name."""

    def __init__(self, column: Column, folder: Path) -> None:
        self.column = column
        self._fixed = FILE_CELL if column.is_filed else column.item_bytes if column.is_numeric else None
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this, without a name
        self._lengths = bytearray()  # of each value, uint32
        self.count = 0

    def append(self, block: ValueBlock) -> int:
        """Keep the values of a block; the number of the first."""
        first, length = self.count, block.length
        if len(length) == _LENGTH_BYTES:  # one value, as most blocks have
            total = int.from_bytes(length, "little")
            is_other = self._fixed is not None and total != self._fixed
        else:
            total = int(block.lengths.sum())
            is_other = self._fixed is not None and bool((block.lengths != self._fixed).any())
        if len(block.cells) != total or is_other:
            raise DatasetError(f"an answer holds values of {self.column} that have another size")
        self._file.write(block.cells)
        self._lengths += length
        self.count += len(length) // _LENGTH_BYTES
        return first

    @cached_property
    def byte_ends(self) -> np.ndarray:
        """Where each value begins in the bytes of all, and where the last ends."""
        return ends_of(self._all_lengths)

    @property
    def _all_lengths(self) -> np.ndarray:
        return np.frombuffer(bytes(self._lengths), "<u4")

    def array(self, part: str) -> Readable:
        """One of the column's arrays, of the values that came so far."""
        self._file.flush()
        number = self._file.fileno()
        if self.column.is_filed:
            cells = _Filed(number, np.dtype(np.uint8), (FILE_CELL,))
            return _CellPart(cells, is_digest=part == "sha256")
        if self.column.is_numeric:
            return _Filed(number, np.dtype(f"<{self.column.kind}"), self.column.shape)
        return _Filed(number, np.dtype(np.uint8)) if part == "bytes" else _Held(self._all_lengths)


@attrs.frozen(eq=False)
class _Held:
    data: np.ndarray

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.data[start:stop]


@attrs.frozen(eq=False)
class _Filed:
    """Rows in a file. Not mapped: what was read of a mapped file counts as memory of the process until it is closed."""

    number: int
    dtype: np.dtype[Any]
    trailing: tuple[int, ...] = ()

    def read(self, start: int, stop: int) -> np.ndarray:
        rows = np.empty((stop - start, *self.trailing), self.dtype)
        waiting = rows.reshape(-1).view(np.uint8).data
        at = start * math.prod(self.trailing) * self.dtype.itemsize
        while waiting:  # one read gives 2 GB at most
            count = os.preadv(self.number, [waiting], at)
            if not count:
                raise DatasetError("the values of new answers are gone from their temporary file")
            waiting, at = waiting[count:], at + count
        return rows


@attrs.frozen(eq=False)
class _CellPart:
    """Of the cells of files the digests, or the sizes."""

    cells: _Filed
    is_digest: bool

    def read(self, start: int, stop: int) -> np.ndarray:
        cells = self.cells.read(start, stop)
        return cells[:, :32] if self.is_digest else np.ascontiguousarray(cells[:, 32:]).view("<u8")[:, 0]


@attrs.frozen(eq=False)
class FilledImage:
    """What an answer filled of one column of one image: (indices, number of the first value) of each block."""

    origin: AnswerValues
    filled: list[tuple[np.ndarray, int]] = attrs.field(factory=list)


class Filled:
    """What answers filled of one column, by image: of a column of images the number of the value, in an array as there
    may be millions; of others what they filled.
    """

    def __init__(self) -> None:
        self._first = 0
        self._numbers = array("q")
        self._others: dict[int, FilledImage] = {}

    def put(self, image: int, number: int) -> None:
        """The value of an image."""
        if not self._numbers:
            self._first = image
        if image < self._first:
            self._numbers = array("q", [-1] * (self._first - image)) + self._numbers
            self._first = image
        place = image - self._first
        if place >= len(self._numbers):
            self._numbers.extend([-1] * (place + 1 - len(self._numbers)))
        self._numbers[place] = number

    def fresh(self, image: int, origin: AnswerValues) -> FilledImage:
        """What was filled of an image, to be added to."""
        found = self._others.get(image)
        if found is None:
            found = self._others[image] = FilledImage(origin)
        return found

    def get(self, image: int) -> FilledImage | int | None:
        """What was filled of an image."""
        place = image - self._first
        if 0 <= place < len(self._numbers) and self._numbers[place] >= 0:
            return self._numbers[place]
        return self._others.get(image)

    def __iter__(self) -> Iterator[int]:
        yield from (image for image, number in enumerate(self._numbers, self._first) if number >= 0)
        yield from self._others

    def moved(self, place: Sequence[int]) -> Filled:
        """The same, image i being `place[i]`."""
        found = Filled()
        found._numbers = array("q", [-1]) * len(place)
        for image, number in enumerate(self._numbers, self._first):
            if number >= 0:
                found._numbers[place[image]] = number
        found._others = {place[image]: fresh for image, fresh in self._others.items()}
        return found
