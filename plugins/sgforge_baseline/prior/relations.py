"""The relation model: at what rate each predicate holds for a pair of such labels in such a layout.

Five tables of counts, from coarse to fine: all pairs; the layout's cell; the subject's label and the object's label;
both labels; both labels with the cell. Each is smoothed towards the coarser ones (a Dirichlet prior that weighs
`strength` pairs). Labels and layout are joined as if they were independent, rate(cell) * rate(labels) / rate(all),
until pairs of these labels in this layout have been seen. So an unseen label leaves the other label and the layout,
and two unseen labels leave the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge_baseline.prior.cells import CELLS
from sgforge_baseline.prior.counts import CountTable, Floats, Ints, Tally

__all__ = ["UNSEEN", "PairBatch", "RelationModel"]

UNSEEN: Final = -1
"""The label id of a text that no training region had."""


@attrs.frozen(eq=False)
class PairBatch:
    """P pairs: label ids of subject and object, cells, and how many pairs each stands for."""

    subject: Ints
    object: Ints
    cell: Ints
    weight: Floats

    def contexts(self, labels: int) -> dict[str, Ints]:
        """The context id of each pair in each table; negative where a label was never seen."""
        both = np.where((self.subject < 0) | (self.object < 0), UNSEEN, self.subject * labels + self.object)
        return {
            "all": np.zeros(len(self.cell), np.int64),
            "cell": self.cell,
            "subject": self.subject,
            "object": self.object,
            "both": both,
            "full": np.where(both < 0, UNSEEN, both * CELLS + self.cell),
        }


TABLES: Final = ("all", "cell", "subject", "object", "both", "full")


@attrs.frozen(eq=False, slots=False)
class RelationModel:
    """Rates of `predicates` over `labels`; the last label id, len(labels), stands for regions without a label."""

    labels: tuple[str, ...]
    predicates: tuple[str, ...]
    categories: tuple[str, ...]
    strength: float
    tables: dict[str, CountTable]

    @cached_property
    def _label_ids(self) -> dict[str | None, int]:
        return {None: len(self.labels), **{label: index for index, label in enumerate(self.labels)}}

    def label_ids(self, labels: Sequence[str | None]) -> Ints:
        """(N,) ids of label texts; `UNSEEN` for one that training had not."""
        return np.array([self._label_ids.get(label, UNSEEN) for label in labels], np.int64)

    def rates(self, pairs: PairBatch) -> Floats:
        """(P, C) estimated P(predicate holds | pair), in [0, 1]."""
        count = len(self.predicates)
        contexts = pairs.contexts(len(self.labels) + 1)
        nothing = np.full((1, count), 1e-6)
        base = self._smoothed("all", np.zeros(1, np.int64), nothing)
        everywhere = np.broadcast_to(base, (len(pairs.cell), count))
        cell = self._smoothed("cell", contexts["cell"], everywhere)
        subject = self._smoothed("subject", contexts["subject"], everywhere)
        object_ = self._smoothed("object", contexts["object"], everywhere)
        both = self._smoothed("both", contexts["both"], np.minimum(subject * object_ / base, 1))
        full = self._smoothed("full", contexts["full"], np.minimum(cell * both / base, 1))
        return np.minimum(full, 1.0)

    def _smoothed(self, table: str, contexts: Ints, coarser: NDArray[np.float64]) -> Floats:
        return self.tables[table].smoothed(contexts, coarser, self.strength)


@attrs.define(eq=False)
class RelationCounter:
    """Adds up pairs and what holds for them, block by block."""

    labels: int
    predicates: int
    _pairs: dict[str, list[Tally]] = attrs.field(init=False)
    _held: dict[str, list[Tally]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pairs = {name: [] for name in TABLES}
        self._held = {name: [] for name in TABLES}

    def add(self, pairs: PairBatch, row: Ints, predicate: Ints, weight: Floats) -> None:
        """Count `pairs`; relation i holds `predicate[i]` for pair `row[i]` and counts as `weight[i]`."""
        for name, contexts in pairs.contexts(self.labels).items():
            self._pairs[name].append(Tally.of(contexts, pairs.weight))
            self._held[name].append(Tally.of(contexts[row] * self.predicates + predicate, weight))

    def tables(self) -> dict[str, CountTable]:
        """All that was counted."""
        width = max(self.predicates, 1)
        return {
            name: CountTable.of(Tally.sum(self._pairs[name]), Tally.sum(self._held[name]), width) for name in TABLES
        }

    def model(
        self, labels: Sequence[str], predicates: Sequence[str], categories: Sequence[str], strength: float
    ) -> RelationModel:
        """The model of all that was counted."""
        return RelationModel(tuple(labels), tuple(predicates), tuple(categories), strength, self.tables())
