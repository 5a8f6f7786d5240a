"""The relation model: at what rate each predicate holds for a pair of such labels in such a layout.

Five tables of counts, from coarse to fine: all pairs; the layout's cell; the subject's label and the object's label;
both labels; both labels with the cell. Each is smoothed towards the coarser ones (a Dirichlet prior that weighs
`strength` pairs). Labels and layout are joined as if they were independent, rate(cell) * rate(labels) / rate(all),
until pairs of these labels in this layout have been seen. So an unseen label leaves the other label and the layout,
and two unseen labels leave the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final, Generic, TypeVar

import attrs
import numpy as np

from sgforge_baseline.prior.cells import CELLS
from sgforge_baseline.prior.counts import CountTable, Floats, Ints, Tally

__all__ = ["UNSEEN", "Levels", "PairBatch", "RelationCounter", "RelationModel"]

UNSEEN: Final = -1
"""The label id of a text that no training region had."""

_NEVER: Final = 1e-6
"""What the coarsest table is smoothed towards: the rate of a predicate before anything was seen."""

_T = TypeVar("_T")
_U = TypeVar("_U")


@attrs.frozen(eq=False)
class Levels(Generic[_T]):
    """One value per table of counts, from coarse to fine."""

    every: _T
    cell: _T
    subject: _T
    object: _T
    labels: _T
    full: _T

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The tables' names, in order."""
        return tuple(field.name for field in attrs.fields(cls))

    @classmethod
    def make(cls, value: Callable[[str], _T]) -> Levels[_T]:
        """From a function of the table's name."""
        return cls(**{name: value(name) for name in cls.names()})

    def map(self, change: Callable[[_T], _U]) -> Levels[_U]:
        """Every value changed."""
        return Levels.make(lambda name: change(getattr(self, name)))


@attrs.frozen(eq=False)
class PairBatch:
    """P pairs: label ids of subject and object, cells, and how many pairs each stands for."""

    subject: Ints
    object: Ints
    cell: Ints
    weight: Floats

    def contexts(self, labels: int) -> Levels[Ints]:
        """The context id of each pair in each table; negative where a label was never seen."""
        both = np.where((self.subject < 0) | (self.object < 0), UNSEEN, self.subject * labels + self.object)
        full = np.where(both < 0, UNSEEN, both * CELLS + self.cell)
        return Levels(
            every=np.zeros_like(self.cell),
            cell=self.cell,
            subject=self.subject,
            object=self.object,
            labels=both,
            full=full,
        )


@attrs.frozen(eq=False, slots=False)
class RelationModel:
    """Rates of `predicates` over `labels`; the label id len(labels) stands for regions without a label.

    `categories`: the usual category of each predicate. `strength`: what a coarser estimate weighs as, in pairs.
    """

    labels: tuple[str, ...]
    predicates: tuple[str, ...]
    categories: tuple[str, ...]
    strength: float
    tables: Levels[CountTable]

    @cached_property
    def _label_ids(self) -> dict[str | None, int]:
        return {None: len(self.labels), **{label: index for index, label in enumerate(self.labels)}}

    def label_ids(self, labels: Sequence[str | None]) -> Ints:
        """(N,) ids of label texts; `UNSEEN` for one that training had not."""
        return np.array([self._label_ids.get(label, UNSEEN) for label in labels], np.int64)

    def rates(self, pairs: PairBatch) -> Floats:
        """(P, C) estimated P(predicate holds | pair), in [0, 1]."""
        tables, of, k = self.tables, pairs.contexts(len(self.labels) + 1), self.strength
        nothing = np.full((1, len(self.predicates)), _NEVER)
        base = tables.every.smoothed(np.zeros(1, np.int64), nothing, k)
        everywhere = np.broadcast_to(base, (len(pairs.cell), len(self.predicates)))
        cell = tables.cell.smoothed(of.cell, everywhere, k)
        subject = tables.subject.smoothed(of.subject, everywhere, k)
        object_ = tables.object.smoothed(of.object, everywhere, k)
        labels = tables.labels.smoothed(of.labels, np.minimum(subject * object_ / base, 1), k)
        full = tables.full.smoothed(of.full, np.minimum(cell * labels / base, 1), k)
        return np.minimum(full, 1.0)


class RelationCounter:
    """Adds up pairs and what holds for them, block by block; `labels` counts the one for regions without a label."""

    def __init__(self, labels: int, predicates: int) -> None:
        self._labels = labels
        self._width = max(predicates, 1)
        self._pairs: Levels[list[Tally]] = Levels.make(lambda _: [])
        self._held: Levels[list[Tally]] = Levels.make(lambda _: [])

    def add(self, pairs: PairBatch, row: Ints, predicate: Ints, weight: Floats) -> None:
        """Count `pairs`; relation i holds `predicate[i]` for pair `row[i]` and counts as `weight[i]`."""
        contexts = pairs.contexts(self._labels)
        for name in Levels.names():
            ids: Ints = getattr(contexts, name)
            getattr(self._pairs, name).append(Tally.of(ids, pairs.weight))
            getattr(self._held, name).append(Tally.of(ids[row] * self._width + predicate, weight))

    def tables(self) -> Levels[CountTable]:
        """All that was counted."""
        pairs, held = self._pairs.map(Tally.sum), self._held.map(Tally.sum)
        return Levels.make(lambda name: CountTable.of(getattr(pairs, name), getattr(held, name), self._width))
