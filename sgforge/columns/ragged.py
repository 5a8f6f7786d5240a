"""Ragged: K rows of varying length as counts beside one flat buffer; texts, byte strings and id lists are all this."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise

import attrs
import numpy as np

from sgforge.errors import GraphError

__all__ = ["Ragged", "encode_text", "ends_of", "expand", "take_bytes"]


def encode_text(text: str) -> bytes:
    """UTF-8 of `text`; a lone surrogate, which no file may hold, is a `GraphError`."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise GraphError(f"text {text!r} is not valid Unicode: it holds half of a surrogate pair") from None


def ends_of(counts: np.ndarray) -> np.ndarray:
    """Offsets of K rows with `counts` values each: (K + 1,) int64, the first 0."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def expand(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Indices of runs: starts[0], starts[0] + 1, ... (counts[0] of them), then the next run; int64."""
    ends = ends_of(counts)
    indices: np.ndarray = np.arange(ends[-1]) + np.repeat(np.asarray(starts, np.int64) - ends[:-1], counts)
    return indices


def take_bytes(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Spans of a 1-d array joined in the order given; neighbouring spans are copied as one."""
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    if not len(starts):
        return data[:0].copy()
    breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
    firsts = starts[np.concatenate(([0], breaks))].tolist()
    lasts = ends[np.concatenate((breaks - 1, [len(ends) - 1]))].tolist()
    if len(firsts) == 1:
        return data[firsts[0] : lasts[0]]
    return np.concatenate([data[first:last] for first, last in zip(firsts, lasts, strict=True)])


@attrs.frozen(eq=False, slots=False)
class Ragged:
    """K rows; row i holds `counts[i]` (uint32) consecutive items of `values` (an array, or a Ragged itself)."""

    counts: np.ndarray
    values: np.ndarray | Ragged

    @classmethod
    def of_bytes(cls, rows: Iterable[bytes]) -> Ragged:
        """One row of uint8 per byte string."""
        rows = list(rows)
        counts = np.fromiter(map(len, rows), np.uint32, len(rows))
        return cls(counts, np.frombuffer(b"".join(rows), np.uint8))

    @classmethod
    def of_texts(cls, rows: Iterable[str]) -> Ragged:
        """One row of UTF-8 bytes per text."""
        return cls.of_bytes([encode_text(text) for text in rows])

    @classmethod
    def concat(cls, parts: Sequence[Ragged]) -> Ragged:
        """The rows of all parts, in order."""
        values = [part.values for part in parts]
        joined = (
            cls.concat([value for value in values if isinstance(value, Ragged)])
            if isinstance(values[0], Ragged)
            else np.concatenate([value for value in values if isinstance(value, np.ndarray)])
        )
        return cls(np.concatenate([part.counts for part in parts]), joined)

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def offsets(self) -> np.ndarray:
        """(K + 1,) int64: row i is `values[offsets[i]:offsets[i + 1]]`."""
        return ends_of(self.counts)

    def take(self, rows: np.ndarray) -> Ragged:
        """The rows of these indices, in this order; repeats are allowed."""
        starts, ends = self.offsets[rows], self.offsets[np.asarray(rows) + 1]
        counts = self.counts[rows]
        if isinstance(self.values, Ragged):
            return Ragged(counts, self.values.take(expand(starts, counts)))
        return Ragged(counts, take_bytes(self.values, starts, ends))

    def slice(self, start: int, stop: int) -> Ragged:
        """Rows start to stop, without copying."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        values = self.values.slice(first, last) if isinstance(self.values, Ragged) else self.values[first:last]
        return Ragged(self.counts[start:stop], values)

    def equals(self, other: Ragged) -> bool:
        """Whether all rows are the same."""
        if self is other:
            return True
        if not np.array_equal(self.counts, other.counts):
            return False
        if isinstance(self.values, Ragged) or isinstance(other.values, Ragged):
            return (
                isinstance(self.values, Ragged)
                and isinstance(other.values, Ragged)
                and (self.values.equals(other.values))
            )
        return np.array_equal(self.values, other.values)

    def bytes_at(self, row: int) -> bytes:
        """One row of a byte column."""
        assert isinstance(self.values, np.ndarray)
        return self.values[self.offsets[row] : self.offsets[row + 1]].tobytes()

    def text_at(self, row: int) -> str:
        """One row of a text column."""
        return self.bytes_at(row).decode()

    def byte_rows(self) -> list[bytes]:
        """All rows of a byte column."""
        assert isinstance(self.values, np.ndarray)
        data, ends = self.values.tobytes(), self.offsets.tolist()
        return [data[first:last] for first, last in pairwise(ends)]

    def texts(self) -> list[str]:
        """All rows of a text column."""
        return [row.decode() for row in self.byte_rows()]
