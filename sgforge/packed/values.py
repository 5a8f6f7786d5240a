"""Values of further columns as blocks: one for each run of values of one column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any, Final, NamedTuple, get_args

import numpy as np

from sgforge.columns.declared import Column, cell_of, column_of, value_of
from sgforge.columns.ragged import ends_of
from sgforge.edits import Value, ValueTarget

__all__ = ["ValueBlock", "pack_values", "unpack_values"]

_TARGETS: Final[tuple[ValueTarget, ...]] = get_args(ValueTarget)
_NO_INDEX: Final = -1


class ValueBlock(NamedTuple):
    """K values of one column. `target` is 0 for the image, 1 for regions, 2 for relations.

    `place`: K int32, the index of the row, -1 for the image; `length`: K uint32, the bytes of each value in `cells`.
    """

    target: int
    name: str
    kind: str
    shape: Sequence[int]
    place: bytes
    length: bytes
    cells: bytes

    @property
    def column(self) -> Column:
        """The column of the values."""
        return Column(_TARGETS[self.target], self.name, self.kind, tuple(self.shape))

    @property
    def indices(self) -> np.ndarray:
        """(K,) int32."""
        return np.frombuffer(self.place, "<i4")

    @property
    def lengths(self) -> np.ndarray:
        """(K,) uint32."""
        return np.frombuffer(self.length, "<u4")


def pack_values(values: Iterable[Value]) -> list[list[Any]]:
    """The blocks of some values, in their order."""
    return [list(_block(column, list(run))) for column, run in groupby(values, column_of)]


def _block(column: Column, values: Sequence[Value]) -> ValueBlock:
    cells = [cell_of(value.value, column) for value in values]
    index = [_NO_INDEX if value.index is None else value.index for value in values]
    return ValueBlock(
        target=_TARGETS.index(column.target),
        name=column.name,
        kind=column.kind,
        shape=list(column.shape),
        place=np.asarray(index, "<i4").tobytes(),
        length=np.asarray(list(map(len, cells)), "<u4").tobytes(),
        cells=b"".join(cells),
    )


def unpack_values(blocks: Iterable[Sequence[Any]]) -> tuple[Value, ...]:
    """The values of some blocks, in their order."""
    return tuple(value for block in blocks for value in _values(ValueBlock(*block)))


def _values(block: ValueBlock) -> Iterable[Value]:
    column = block.column
    for index, (start, stop) in zip(block.indices.tolist(), pairwise(ends_of(block.lengths).tolist()), strict=True):
        yield Value(
            target=column.target,
            index=None if index == _NO_INDEX else index,
            column=column.name,
            value=value_of(block.cells[start:stop], column),
            kind=column.kind,
            shape=column.shape,
        )
