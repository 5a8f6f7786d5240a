"""Moving ids from one set of vocabularies to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, TypeVar

import numpy as np

from sgforge.columns.ragged import Ragged
from sgforge.columns.schema import ColumnSpec, Table, Vocabularies, specs_of

__all__ = ["Remap", "id_columns", "merged", "sorted_words", "used_words"]

_T = TypeVar("_T", bound=Table)


def merged(parts: Sequence[Vocabularies]) -> Vocabularies:
    """Vocabularies that hold every text of all parts; those of the first keep their ids."""
    return Vocabularies(
        **{
            name: tuple(dict.fromkeys(text for part in parts for text in part.of(name)))
            for name in Vocabularies.names()
        }
    )


def sorted_words(parts: Sequence[Vocabularies]) -> Vocabularies:
    """Vocabularies that hold every text of all parts, sorted by UTF-8 bytes."""
    return Vocabularies(
        **{
            name: tuple(sorted({text for part in parts for text in part.of(name)}, key=str.encode))
            for name in Vocabularies.names()
        }
    )


def used_words(words: Vocabularies, ids: Iterable[tuple[str, np.ndarray]]) -> Remap:
    """To only the texts that some id points at, in order; `ids` are (vocabulary, ids) pairs."""
    used = {name: np.zeros(len(words.of(name)), bool) for name in Vocabularies.names()}
    for name, column in ids:
        used[name][column[column >= 0]] = True
    kept = Vocabularies(**{name: tuple(compress(words.of(name), flags.tolist())) for name, flags in used.items()})
    places = {name: np.where(flags, np.cumsum(flags) - 1, -1).astype(np.int32) for name, flags in used.items()}
    return Remap(words, kept, {name: np.append(place, np.int32(-1)) for name, place in places.items()})


class Remap:
    """From ids into `old` to ids into `new`; a text that `new` has not becomes -1 (none)."""

    def __init__(self, old: Vocabularies, new: Vocabularies, maps: dict[str, np.ndarray] | None = None) -> None:
        """`maps`: new id by old id, int32, with -1 at the end, where they are known already."""
        self._old = old
        self.new = new
        self._maps: dict[str, np.ndarray | None] = {**(maps or {})}

    def ids(self, vocabulary: str, column: np.ndarray) -> np.ndarray:
        """A column of ids moved; the same array where nothing changes."""
        if vocabulary not in self._maps:
            self._maps[vocabulary] = self._map_of(vocabulary)
        ids = self._maps[vocabulary]
        if ids is None:
            return column
        # The -1 at the end of a map is what an id of -1 picks. One id that is shown often stays that.
        is_one = len(column) > 0 and not any(column.strides)
        moved: np.ndarray = np.broadcast_to(ids[column[0]], column.shape) if is_one else ids[column]
        return moved

    def table(self, table: _T) -> _T:
        """A table with all its ids moved; columns that need no change are shared."""

        def change(spec: ColumnSpec, column: Any) -> Any:
            if spec.vocabulary is None:
                return column
            if isinstance(column, Ragged):
                return Ragged(column.counts, self.ids(spec.vocabulary, _flat(column)))
            return self.ids(spec.vocabulary, column)

        return table.map(change)

    def _map_of(self, name: str) -> np.ndarray | None:
        old, new = self._old.of(name), self.new.of(name)
        if old == new[: len(old)]:
            return None
        index = {text: position for position, text in enumerate(new)}
        return np.asarray([*(index.get(text, -1) for text in old), -1], np.int32)


def id_columns(table: Table) -> Iterator[tuple[str, np.ndarray]]:
    """(vocabulary, ids) of each column of ids."""
    for spec in specs_of(type(table)):
        if spec.vocabulary is not None:
            column = getattr(table, spec.name)
            yield spec.vocabulary, (_flat(column) if isinstance(column, Ragged) else column)


def _flat(column: Ragged) -> np.ndarray:
    assert isinstance(column.values, np.ndarray)
    return column.values
