"""Lists of objects in an Arrow table as numpy arrays: numbers, texts by their numbers, lists of these."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Lists", "Structs", "Texts", "structs_of"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Texts:
    """N texts: `numbers` (N,) int32 index `words`, -1 for none. A word may stand there twice, or unused."""

    words: tuple[str, ...]
    numbers: npt.NDArray[np.int32]

    def are(self, fits: Any) -> Bools:
        """(N,) whether `fits` says yes to a text; of none it does."""
        found = np.asarray([*map(fits, self.words), True], np.bool_)
        return found[self.numbers]

    def tolist(self) -> list[str | None]:
        """The texts."""
        found: list[str | None] = np.asarray([*self.words, None], object)[self.numbers].tolist()
        return found


@attrs.frozen(eq=False, slots=False)
class Lists:
    """N lists side by side: `flat` holds all items, `offsets` (N + 1,) says where each list begins."""

    flat: Any
    offsets: Ints

    @cached_property
    def counts(self) -> Ints:
        """(N,) items of each."""
        return np.diff(self.offsets)

    @cached_property
    def owners(self) -> Ints:
        """The list of each item."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def tolist(self) -> list[list[Any]]:
        """The lists."""
        items = self.flat.tolist()
        return [items[first:last] for first, last in pairwise(self.offsets.tolist())]


class Structs:
    """The objects of a list column: of N rows, M in all."""

    def __init__(self, column: pa.ListArray) -> None:
        self._fields: pa.StructArray = column.values
        self.offsets: Ints = np.asarray(column.offsets).astype(np.int64)
        self.counts: Ints = np.diff(self.offsets)
        self.owners: Ints = np.repeat(np.arange(len(self.counts)), self.counts)

    def __len__(self) -> int:
        return len(self._fields)

    @property
    def keys(self) -> Ints:
        """(N,) how many keys the objects of each row have, without those that are null."""
        names = [field.name for field in self._fields.type]
        found = sum((~self.is_null(name)).astype(np.int64) for name in names)
        ends = np.concatenate([[0], np.cumsum(found)])
        counts: Ints = ends[self.offsets[1:]] - ends[self.offsets[:-1]]
        return counts

    def is_null(self, name: str) -> Bools:
        """(M,) whether an object lacks a field."""
        return _is_null(self._fields.field(name))

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """(M,) a field of numbers, NaN where an object lacks it."""
        return self._fields.field(name).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def whole(self, name: str) -> Ints:
        """(M,) a field of whole numbers, 0 where an object lacks it."""
        return _whole(self._fields.field(name))

    def texts(self, name: str) -> Texts:
        """(M,) a field of texts."""
        return _texts(self._fields.field(name))

    def lists(self, name: str) -> Lists:
        """(M,) a field of lists of texts or whole numbers; an object that lacks it has an empty one."""
        column = self._fields.field(name)
        read = _texts if str(column.type.value_type) == "string" else _whole
        return Lists(read(column.values), np.asarray(column.offsets).astype(np.int64))

    def null_items(self, name: str) -> Bools:
        """Which items of all lists of a field are null."""
        return _is_null(self._fields.field(name).values)

    def first_texts(self, lists: str, otherwise: str) -> Texts:
        """(M,) the first text of a field of lists; where it is empty, another field."""
        given, other = self.lists(lists), self.texts(otherwise)
        if not len(given.flat.numbers):
            return other
        first = given.flat.numbers[np.minimum(given.offsets[:-1], len(given.flat.numbers) - 1)]
        instead = np.where(other.numbers < 0, -1, other.numbers + len(given.flat.words))
        numbers = np.where(given.counts > 0, first, instead).astype(np.int32)
        return Texts((*given.flat.words, *other.words), numbers)


def structs_of(table: pa.Table, name: str) -> Structs:
    """The objects in the lists of a column."""
    column = table[name].combine_chunks()
    return Structs(column.chunk(0) if hasattr(column, "num_chunks") else column)


def _is_null(column: pa.Array) -> Bools:
    if not column.null_count:
        return np.zeros(len(column), np.bool_)
    return column.is_null().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _whole(column: pa.Array) -> Ints:
    filled = column.fill_null(0) if column.null_count else column
    return filled.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _texts(column: pa.Array) -> Texts:
    encoded = column.dictionary_encode()
    numbers = encoded.indices.fill_null(-1) if encoded.indices.null_count else encoded.indices
    return Texts(tuple(encoded.dictionary.to_pylist()), numbers.to_numpy(zero_copy_only=False).astype(np.int32))
