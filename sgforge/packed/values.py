"""Values of further columns as blocks: one for each run of values of one column."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any, Final, NamedTuple, get_args

import numpy as np

from sgforge.columns.declared import Column, cell_of, column_of, one_column, value_of, values_of_sample
from sgforge.columns.ragged import ends_of
from sgforge.edits import Value, ValueTarget
from sgforge.graph import Sample, Values

__all__ = ["ValueBlock", "ValuePacker", "pack_values", "unpack_values"]

_TARGETS: Final[tuple[ValueTarget, ...]] = get_args(ValueTarget)
_NO_INDEX: Final = -1
_ONE_PLACE: Final = struct.Struct("<i")
_ONE_LENGTH: Final = struct.Struct("<I")


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
        return one_column(_TARGETS[self.target], self.name, self.kind, tuple(self.shape))

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


class ValuePacker:
    """Packs the values of samples one after the other; values that several samples share are packed once."""

    def __init__(self) -> None:
        self._last: tuple[Values, list[list[Any]]] | None = None

    def pack(self, sample: Sample) -> list[list[Any]]:
        """The blocks of all values of a sample."""
        if len(sample.region_values) or len(sample.relation_values):
            return pack_values(values_of_sample(sample))
        last = self._last
        # Values are never changed, so those that are one and the same object have the same blocks.
        if last is None or last[0] is not sample.values:
            last = self._last = (sample.values, pack_values(values_of_sample(sample)))
        return last[1]


def _block(column: Column, values: Sequence[Value]) -> ValueBlock:
    cells = [cell_of(value.value, column) for value in values]
    if len(values) == 1:  # as most are, and an array of one number takes longer than all else here
        value, cell = values[0], cells[0]
        return ValueBlock(
            target=_TARGETS.index(column.target),
            name=column.name,
            kind=column.kind,
            shape=list(column.shape),
            place=_ONE_PLACE.pack(_NO_INDEX if value.index is None else value.index),
            length=_ONE_LENGTH.pack(len(cell)),
            cells=cell,
        )
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
