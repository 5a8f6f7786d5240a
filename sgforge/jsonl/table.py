"""Rows of decoded JSON, taken apart column by column: values of the right type become arrays, the rest is marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sgforge.graph import to_float32

__all__ = ["RowTable", "Words"]

_FLOAT32_MAX: Final = to_float32(3.4028234663852886e38)
_NUMBERS: Final = frozenset({int, float})
_INT32: Final = np.iinfo(np.int32)


class Words:
    """Texts by id, in the order in which they first occurred; grows over the chunks of a file."""

    def __init__(self) -> None:
        self._ids: dict[str | None, int] = {None: -1}

    def texts(self) -> tuple[str, ...]:
        """All texts by id."""
        return tuple(text for text in self._ids if text is not None)

    def ids(self, texts: Sequence[str | None]) -> NDArray[np.int32]:
        """An id per text, -1 for None."""
        ids = self._ids
        for text in dict.fromkeys(texts):
            if text not in ids:
                ids[text] = len(ids) - 1
        return np.fromiter(map(ids.__getitem__, texts), np.int32, len(texts))


class RowTable:
    """Some rows (decoded JSON objects) of one kind; `suspect` (R,) marks those that a column could not take.

    Nothing is decided here about a suspect row: whoever reads it again by itself says what is wrong with it. A suspect
    row holds the missing value in the columns.
    """

    def __init__(self, rows: Sequence[Any], keys: Sequence[str], required: Sequence[str] = ()) -> None:
        self.suspect: NDArray[np.bool_] = np.zeros(len(rows), np.bool_)
        self._size = len(rows)
        self._values: dict[str, Sequence[Any]] = {}
        rows = self._objects(rows)
        if not self._take_alike(rows, frozenset(keys)):
            self._take(rows, keys)
        for key in required:
            if key not in self._values or None in self._values[key]:
                self._mark([value is None for value in self.values(key)])

    def _objects(self, rows: Sequence[Any]) -> Sequence[dict[str, Any]]:
        if set(map(type, rows)) <= {dict}:
            return rows
        self._mark([type(row) is not dict for row in rows])
        return [row if type(row) is dict else {} for row in rows]

    def _take_alike(self, rows: Sequence[dict[str, Any]], known: frozenset[str]) -> bool:
        """Transpose rows that all have the same known keys at once, without a look at the keys of each."""
        shape = tuple(rows[0]) if rows else ()
        if len(shape) < 2 or not known.issuperset(shape) or set(map(len, rows)) != {len(shape)}:
            return False
        try:
            columns = list(zip(*map(itemgetter(*shape), rows), strict=True))
        except KeyError:  # as many keys, but others
            return False
        self._values = dict(zip(shape, columns, strict=True))
        return True

    def _take(self, rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> None:
        shapes, known = set(map(tuple, rows)), frozenset(keys)
        if any(not known.issuperset(shape) for shape in shapes):
            self._mark([not known.issuperset(row) for row in rows])
        occurring = set().union(*shapes)
        self._values = {key: [row.get(key) for row in rows] for key in keys if key in occurring}

    def _mark(self, bad: Sequence[bool] | NDArray[np.bool_]) -> None:
        self.suspect |= np.asarray(bad, np.bool_)

    def refuse(self, bad: NDArray[np.bool_]) -> None:
        """Mark rows from outside."""
        self.suspect |= bad

    def values(self, key: str) -> Sequence[Any]:
        """The raw values of a key, None where it is missing."""
        return self._values.get(key, [None] * self._size)

    def typed(self, key: str, allowed: frozenset[type]) -> Sequence[Any]:
        """The values of a key, each None or of an allowed type exactly; others are marked and become None."""
        values = self.values(key)
        if set(map(type, values)) <= allowed | {type(None)}:
            return values
        good = [value is None or type(value) in allowed for value in values]
        self._mark([not right for right in good])
        return [value if right else None for value, right in zip(values, good, strict=True)]

    def has(self, key: str) -> bool:
        """Whether any row has this key."""
        return key in self._values

    def ids(self, key: str, words: Words, *, filled: bool = False) -> NDArray[np.int32]:
        """Ids of a text column; `filled` refuses the empty text."""
        if not self.has(key):
            return np.full(self._size, -1, np.int32)
        texts = self.typed(key, frozenset({str}))
        if filled and "" in texts:
            self._mark([text == "" for text in texts])
        return words.ids(texts)

    def codes(self, key: str, names: Sequence[str]) -> NDArray[np.uint8]:
        """Positions of texts in a closed list; a missing one is 0."""
        if not self.has(key):
            return np.zeros(self._size, np.uint8)
        texts = self.typed(key, frozenset({str}))
        table: dict[str | None, int] = {name: code for code, name in enumerate(names)} | {None: 0}
        if not table.keys() >= set(texts):
            self._mark([text not in table for text in texts])
            texts = [text if text in table else None for text in texts]
        return np.fromiter(map(table.__getitem__, texts), np.uint8, self._size)

    def integers(self, key: str, missing: int) -> NDArray[np.int64]:
        """A whole-number column; one outside 32 bits is marked."""
        if not self.has(key):
            return np.full(self._size, missing, np.int64)
        values = self.typed(key, frozenset({int}))
        if None in values:
            values = [missing if value is None else value for value in values]
        try:
            numbers = np.array(values, np.int64).reshape(self._size)
        except OverflowError:
            numbers = np.array([max(min(value, _INT32.max + 1), _INT32.min - 1) for value in values], np.int64)
        outside = (numbers < _INT32.min) | (numbers > _INT32.max)
        self._mark(outside)
        return np.where(outside, missing, numbers)

    def numbers(self, key: str, low: float = -_FLOAT32_MAX, high: float = _FLOAT32_MAX) -> NDArray[np.float32]:
        """A number column as float32, NaN where missing; one outside [low, high] is marked."""
        if not self.has(key):
            return np.full(self._size, np.nan, np.float32)
        values = np.array(self.typed(key, _NUMBERS), np.float64).reshape(self._size)
        bad = (values < low) | (values > high)
        self._mark(bad)
        return np.where(bad, np.nan, values).astype(np.float32)

    def boxes(self, key: str, *, flat: bool) -> NDArray[np.float32]:
        """A column of [x0, y0, x1, y1] as (R, 4) float32, NaN where missing; `flat` allows no width or height."""
        boxes = np.full((self._size, 4), np.nan, np.float32)
        values = self.typed(key, frozenset({list}))
        given = [row for row, value in enumerate(values) if value is not None]
        sides = [values[row] for row in given]
        right = set(map(len, sides)) <= {4} and set(map(type, chain.from_iterable(sides))) <= _NUMBERS
        if not right:
            good = [len(box) == 4 and set(map(type, box)) <= _NUMBERS for box in sides]
            self._mark_rows(given, [not fine for fine in good])
            given = [row for row, fine in zip(given, good, strict=True) if fine]
            sides = [values[row] for row in given]
        wide = np.fromiter(chain.from_iterable(sides), np.float64, 4 * len(sides)).reshape(-1, 4)
        inside = np.all(np.abs(wide) <= _FLOAT32_MAX, axis=1)
        found = np.where(inside[:, None], wide, 0).astype(np.float32)
        low, high = found[:, :2], found[:, 2:]
        sound = inside & np.all(low <= high if flat else low < high, axis=1)
        self._mark_rows(given, ~sound)
        boxes[given] = np.where(sound[:, None], found, np.float32(np.nan))
        return boxes

    def texts(self, key: str) -> tuple[NDArray[np.uint32], list[str]]:
        """A column of lists of texts: (texts per row, all texts)."""
        if not self.has(key):
            return np.zeros(self._size, np.uint32), []
        lists: list[list[str]] = [value or [] for value in self.typed(key, frozenset({list}))]
        if not set(map(type, chain.from_iterable(lists))) <= {str}:
            good = [set(map(type, texts)) <= {str} for texts in lists]
            self._mark([not fine for fine in good])
            lists = [texts if fine else [] for texts, fine in zip(lists, good, strict=True)]
        counts = np.fromiter(map(len, lists), np.uint32, self._size)
        return counts, list(chain.from_iterable(lists))

    def checked(self, key: str, allowed: type, check: Callable[[Any], bool]) -> list[tuple[int, Any]]:
        """(row, value) of the values of a type that pass `check`; the others are marked."""
        found: list[tuple[int, Any]] = []
        if not self.has(key):
            return found
        for row, value in enumerate(self.typed(key, frozenset({allowed}))):
            if value is None:
                continue
            if check(value):
                found.append((row, value))
            else:
                self.suspect[row] = True
        return found

    def _mark_rows(self, rows: Sequence[int], bad: Sequence[bool] | NDArray[np.bool_]) -> None:
        self.suspect[np.asarray(rows, np.int64)[np.asarray(bad, np.bool_)]] = True
