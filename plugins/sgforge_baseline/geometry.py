"""Teacher `geometry`: spatial relations of the most salient regions, read off boxes, masks and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sgforge import boxes
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.spatial import Geometry, Layout, canonical, degrees
from sgforge.stages import Answer
from sgforge_baseline.config import GeometryOptions
from sgforge_baseline.known import KnownRelations

__all__ = ["GeometryTeacher", "salience"]

Floats = NDArray[np.float64]

_TELLING: Final[Mapping[str, float]] = {
    "part of": 1.0,
    "has part": 0.95,
    "on": 0.95,
    "supporting": 0.9,
    "inside": 0.9,
    "contains": 0.85,
    "next to": 0.65,
    "in front of": 0.6,
    "behind": 0.55,
    "left of": 0.5,
    "right of": 0.5,
    "over": 0.45,
    "under": 0.45,
    "above": 0.4,
    "below": 0.4,
    "near": 0.35,
    "touching": 0.35,
    "overlapping": 0.3,
    "far from": 0.2,
}
"""How much a predicate tells, from 0 to 1: of two that hold equally, "on" is worth more than "above"."""

_NOT_BY_DEFAULT: Final = ("overlapping", "touching", "far from")


class GeometryTeacher:
    """Adds spatial relations whose score is their degree.

    Subjects are the `subjects` most salient regions that have geometry. For each, pairs with all other regions are
    ranked by degree times how much the predicate tells times closeness (1 where the boxes meet, falling with their
    distance in sizes) times (1 + the object's salience) / 2; the first `relations_per_subject` are added, one for any
    two regions. Two regions of which a kept relation says already how they lie are left alone, and nothing is added
    that was rejected, itself or as its inverse. "part of" is said only of regions whose parent is known. Regions
    without geometry are counted as `no-geometry`.
    """

    def __init__(self, options: GeometryOptions) -> None:
        self.options = options
        names = options.predicates or [name for name in _TELLING if name not in _NOT_BY_DEFAULT]
        found = [predicate for text in names if (predicate := canonical(text)) is not None]
        self._predicates = tuple(dict.fromkeys(predicate.name for predicate in found))

    def complete(self, samples: Sequence[Sample], /) -> list[Answer]:
        """The new relations of each sample."""
        return [self._one(sample.graph) for sample in samples]

    def _one(self, graph: SceneGraph) -> Edit:
        geometry = Geometry.of(graph)
        kept = np.fromiter(graph.regions, np.int64)
        placed = kept[geometry.has_box[kept]]
        faults = {"no-geometry": len(kept) - len(placed)} if len(placed) < len(kept) else {}
        worth = np.zeros(len(geometry))
        worth[placed] = salience(graph, geometry, placed)
        ranked = placed[np.argsort(-worth[placed], kind="stable")]
        known = KnownRelations.of(graph)
        added: list[Relation] = []
        for subject in ranked[: self.options.subjects].tolist():
            told = [relation.subject for relation in added if relation.object == subject]
            others = placed[~np.isin(placed, [subject, *told, *known.placed_with(subject)])]
            added.extend(self._of_subject(subject, others, geometry, worth, known))
        return Edit(relations=added, faults=faults)

    def _of_subject(
        self, subject: int, others: NDArray[np.int64], geometry: Geometry, worth: Floats, known: KnownRelations
    ) -> list[Relation]:
        pairs = np.stack([np.full_like(others, subject), others], axis=1)
        held = self._degrees(geometry, pairs)
        layout = Layout.of(geometry, pairs)
        closeness = 1 / (1 + layout.gap / layout.size)
        telling = np.array([_TELLING[name] for name in self._predicates])
        value = held * telling * (closeness * (0.5 + 0.5 * worth[others]))[:, None]
        value[held < self.options.min_degree] = 0.0
        taken: dict[int, Relation] = {}
        for flat in np.argsort(-value, axis=None, kind="stable").tolist():
            row, column = divmod(flat, len(self._predicates))
            if len(taken) == self.options.relations_per_subject or value[row, column] <= 0:
                break
            predicate, object_ = self._predicates[column], int(others[row])
            if object_ in taken or known.says(subject, predicate, object_):
                continue
            taken[object_] = Relation(
                subject=subject, predicate=predicate, object=object_, category="spatial", score=float(held[row, column])
            )
        return list(taken.values())

    def _degrees(self, geometry: Geometry, pairs: NDArray[np.int64]) -> Floats:
        """(P, C) degrees, 0 where a predicate cannot be told, and for parts whose parent does not say so."""
        held = np.nan_to_num(degrees(geometry, pairs, self._predicates))
        for name, way in (("part of", pairs), ("has part", pairs[:, ::-1])):
            if name in self._predicates:
                held[~geometry.descends(way), self._predicates.index(name)] = 0.0
        return held


def salience(graph: SceneGraph, geometry: Geometry, indices: NDArray[np.int64]) -> Floats:
    """(N,) how much each region `indices` stands out, in [0, 1], as `boxes.salience` has it.

    A region without a score counts as 1. Without an image's size the frame is the box around all these regions.
    """
    places = geometry.boxes[indices]
    if not len(places):
        return np.zeros(0)
    if graph.width:
        low, high = np.zeros(2), np.array([graph.width, graph.height], np.float64)
    else:
        low, high = places[:, :2].min(axis=0), places[:, 2:].max(axis=0)
    rows: Sequence[Region] = [graph.all.regions[index] for index in indices.tolist()]
    score = np.array([1.0 if region.score is None else region.score for region in rows])
    return boxes.salience(places, score, low, high)
