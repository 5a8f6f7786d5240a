"""Reward `spatial`: the degree to which spatial relations hold on boxes, masks and depth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sgforge.graph import Sample, SceneGraph
from sgforge.spatial import Geometry, canonical, degrees
from sgforge.stages import Credit, Outcome
from sgforge_baseline.config import SpatialRewardOptions

__all__ = ["SpatialReward"]


class SpatialReward:
    """Credit of a relation is its degree; a total is their mean over kept relations, 0 where nothing is said."""

    range = (0.0, 1.0)

    def __init__(self, options: SpatialRewardOptions) -> None:
        self._untold = options.untold

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Credit]]:
        """The credits of all outcomes; `told` is the share of kept relations that geometry can tell."""
        return [[self._one(outcome.graph) for outcome in group] for group in outcomes]

    def _one(self, graph: SceneGraph | None) -> Credit:
        if graph is None:
            return Credit(0.0, {"told": 0.0})
        told = _degrees_of(graph)
        rows = tuple(told.get(index, self._untold) for index in range(len(graph.all.relations)))
        kept = graph.relations
        if not kept:
            return Credit(0.0, {"told": 0.0}, relations=rows)
        total = math.fsum(rows[index] for index in kept) / len(kept)
        share = sum(index in told for index in kept) / len(kept)
        return Credit(total, {"told": share}, relations=rows)


def _degrees_of(graph: SceneGraph) -> dict[int, float]:
    """The degree of each relation that geometry can tell, by its index."""
    spatial = [(index, row) for index, row in enumerate(graph.all.relations) if canonical(row.predicate) is not None]
    if not spatial:
        return {}
    predicates = list(dict.fromkeys(row.predicate for _, row in spatial))
    pairs = np.array([(row.subject, row.object) for _, row in spatial])
    table = degrees(Geometry.of(graph), pairs, predicates)
    found = table[np.arange(len(spatial)), [predicates.index(row.predicate) for _, row in spatial]]
    return {index: float(degree) for (index, _), degree in zip(spatial, found, strict=True) if not np.isnan(degree)}
