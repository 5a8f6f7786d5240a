"""Sparse counts: how many pairs were seen in each context, and how many of them held each predicate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["CountTable", "Tally"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@attrs.frozen(eq=False)
class Tally:
    """Weights summed by integer key: `keys` sorted and unique, `weights` as long."""

    keys: Ints
    weights: Floats

    @classmethod
    def of(cls, keys: Ints, weights: Floats | None = None) -> Self:
        """The tally of these keys, each weighing 1 or its weight."""
        unique, place = np.unique(keys, return_inverse=True)
        return cls(unique, np.bincount(place, weights, len(unique)).astype(np.float64))

    @classmethod
    def sum(cls, parts: Sequence[Self]) -> Self:
        """All parts in one."""
        if not parts:
            return cls(np.empty(0, np.int64), np.empty(0))
        return cls.of(np.concatenate([part.keys for part in parts]), np.concatenate([part.weights for part in parts]))


@attrs.frozen(eq=False)
class CountTable:
    """Counts of predicates by context.

    `contexts`: (K,) sorted ids. `pairs`: (K,) weight of the pairs seen in each. `starts`: (K + 1,) rows of `predicate`
    and `count` that belong to each context.
    """

    contexts: Ints
    pairs: Floats
    starts: Ints
    predicate: Ints
    count: Floats

    @classmethod
    def of(cls, pairs: Tally, predicates: Tally, width: int) -> Self:
        """From pairs tallied by context, and predicates tallied by context * `width` + predicate."""
        contexts = pairs.keys
        owner = np.searchsorted(contexts, predicates.keys // width)
        starts = np.searchsorted(owner, np.arange(len(contexts) + 1))
        return cls(
            contexts=contexts,
            pairs=pairs.weights,
            starts=starts.astype(np.int64),
            predicate=predicates.keys % width,
            count=predicates.weights,
        )

    def smoothed(self, contexts: Ints, coarser: Floats, strength: float) -> Floats:
        """(P, C) rate of each predicate in each of P contexts, where `coarser` (P, C) weighs as `strength` pairs.

        A context that was never seen gives the coarser rate as it is.
        """
        row = np.minimum(np.searchsorted(self.contexts, contexts), max(len(self.contexts) - 1, 0))
        seen = np.flatnonzero(self.contexts[row] == contexts) if len(self.contexts) else np.empty(0, np.int64)
        total = np.full(len(contexts), strength)
        rates = coarser * strength
        if len(seen):
            rows = row[seen]
            total[seen] += self.pairs[rows]
            lengths = self.starts[rows + 1] - self.starts[rows]
            flat = np.repeat(self.starts[rows] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
            rates[np.repeat(seen, lengths), self.predicate[flat]] += self.count[flat]
        smoothed: Floats = rates / total[:, None]
        return smoothed
