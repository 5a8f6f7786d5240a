"""Further columns in a snapshot: `given` says which rows have a value, the other arrays hold these values alone.

The arrays of a column lie in the group "table/column": `given`, uint8, one for each row of the table; and of P values
`values`, (P, *shape), for numbers; `length` and `bytes` for texts and JSON (UTF-8); `sha256`, (P, 32), and `length` for
files. As rows without a value take no place, rows that a step appends move no value: a column of gigabytes that it does
not touch stays the files it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import attrs
import numpy as np

from sgforge.columns.declared import Column, ColumnValues, value_of
from sgforge.columns.ragged import ends_of
from sgforge.dataset.zarr_arrays.reading import StoredArray
from sgforge.errors import GraphError
from sgforge.graph.values import ByIndex, Values

__all__ = ["GIVEN", "ColumnPart", "StoredValues", "ValueColumn", "parts_of"]

GIVEN: Final = "given"
_CELLS: Final = 4096


@attrs.frozen
class ColumnPart:
    """One array of the values of a column: its name, dtype, shape of a row; `is_bytes`: it holds the bytes of texts."""

    name: str
    dtype: str
    trailing: tuple[int, ...] = ()
    is_bytes: bool = False


def parts_of(column: Column) -> tuple[ColumnPart, ...]:
    """The arrays that hold the values of a column, without `given`."""
    if column.is_filed:
        return ColumnPart("sha256", "u1", (32,)), ColumnPart("length", "u8")
    if column.is_numeric:
        return (ColumnPart("values", column.kind, column.shape),)
    return ColumnPart("length", "u4"), ColumnPart("bytes", "u1", is_bytes=True)


class ValueColumn:
    """One further column of a snapshot, read by rows of its table."""

    def __init__(self, column: Column, open_array: Callable[[str], StoredArray]) -> None:
        self.column = column
        self._open = open_array

    @property
    def group(self) -> str:
        """The path of its arrays within the snapshot."""
        return f"{self.column.target}/{self.column.name}"

    def array(self, part: str) -> StoredArray:
        """One of its arrays."""
        return self._open(f"{self.group}/{part}")

    @cached_property
    def given(self) -> np.ndarray:
        """(rows,) uint8: 1 where the row of the table has a value."""
        return self.array(GIVEN).read()

    @cached_property
    def ends(self) -> np.ndarray:
        """(rows + 1,) int64: row r has the values `ends[r]` to `ends[r + 1]`, one or none."""
        return ends_of(self.given)

    @cached_property
    def byte_ends(self) -> np.ndarray:
        """(P + 1,) int64: of texts, where the bytes of each lie."""
        return ends_of(self.array("length").read())

    def cells(self, start: int, stop: int) -> list[bytes]:
        """The values start to stop, as `cell_of` gives them."""
        if self.column.is_filed:
            digests, lengths = self.array("sha256").read(start, stop), self.array("length").read(start, stop)
            return [row.tobytes() + length.tobytes() for row, length in zip(digests, lengths, strict=True)]
        if self.column.is_numeric:
            return [np.ascontiguousarray(row).tobytes() for row in self.array("values").read(start, stop)]
        first = int(self.byte_ends[start])
        data = self.array("bytes").read(first, int(self.byte_ends[stop])).tobytes()
        places = (self.byte_ends[start : stop + 1] - first).tolist()
        return [data[places[place] : places[place + 1]] for place in range(stop - start)]

    def has(self, first: int, last: int) -> bool:
        """Whether any of the rows first to last has a value."""
        return bool(self.ends[last] > self.ends[first])

    def values(self, first: int, last: int) -> ByIndex:
        """The values of rows first to last of the table, by row counted from the first."""
        rows = np.flatnonzero(self.given[first:last]).tolist()
        cells = self.cells(int(self.ends[first]), int(self.ends[last]))
        return ByIndex((row, value_of(cell, self.column)) for row, cell in zip(rows, cells, strict=True))

    def problems(self, rows: int) -> Iterator[str]:
        """What is wrong with a column of a table of so many rows, whose arrays are as they were published."""
        count = int(self.ends[-1])
        if len(self.given) != rows or (self.given > 1).any():
            yield f"{self.group}: its rows are not those of the {self.column.target}s"
            return
        lost = [part.name for part in parts_of(self.column) if not part.is_bytes]
        if any(self.array(name).rows != count for name in lost):
            yield f"{self.group}: it has not the {count} values that are given"
        elif not self.column.is_numeric:
            for start in range(0, count, _CELLS):
                for cell in self.cells(start, min(start + _CELLS, count)):
                    try:
                        value_of(cell, self.column)
                    except GraphError as error:
                        yield f"{self.group}: {error}"

    def whole(self) -> ColumnValues:
        """All of it."""
        rows = np.flatnonzero(self.given)
        if self.column.is_numeric and not self.column.is_filed:
            return ColumnValues(rows, self.array("values").read())
        return ColumnValues(rows, [value_of(cell, self.column) for cell in self.cells(0, len(rows))])


class StoredValues(Values):
    """The values of one image, its regions or its relations, read when they are asked for.

    `rows`: first and last row of each column's table that belong to the image.
    """

    __slots__ = ("_columns", "_first", "_last")

    def __init__(self, columns: Mapping[str, ValueColumn], first: int, last: int) -> None:
        self._columns = columns
        self._first = first
        self._last = last

    def __getitem__(self, name: str) -> Any:
        column = self._columns[name]
        if not column.has(self._first, self._last):
            raise KeyError(name)
        values = column.values(self._first, self._last)
        return values[0] if column.column.target == "image" else values

    def __iter__(self) -> Iterator[str]:
        return (name for name, column in self._columns.items() if column.has(self._first, self._last))

    def __len__(self) -> int:
        return sum(column.has(self._first, self._last) for column in self._columns.values())

    def __contains__(self, name: object) -> bool:
        return name in self._columns and self._columns[str(name)].has(self._first, self._last)

    def kind(self, name: str) -> str:
        return self._columns[name].column.kind
