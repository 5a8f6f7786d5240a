"""Filter `spatial-rules`: rejects spatial relations that boxes, masks or depth contradict, doubles, contradictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from sgforge.edits import Edit, Verdict
from sgforge.graph import KEPT, REJECTED, Relation, Sample, SceneGraph
from sgforge.spatial import Geometry, Predicate, are_contradictory, canonical, degrees
from sgforge.stages import Answer
from sgforge_baseline.config import SpatialRulesOptions

__all__ = ["REASONS", "SpatialRulesFilter"]

REASONS: Final[Mapping[str, str]] = {
    "boxes-contradict": "the boxes do not lie as the predicate says",
    "masks-contradict": "the boxes would allow the predicate, the masks do not",
    "depth-contradicts": "the depths are the other way round",
    "duplicate": "an earlier row says the same of the same two regions",
    "contradictory-pair": "another relation of the same two regions holds more firmly and excludes this one",
}
"""Every reason this filter gives, in words."""


@attrs.frozen
class _Judged:
    """A spatial relation with its row, and its degree; None where geometry cannot tell."""

    index: int
    relation: Relation
    predicate: Predicate
    degree: float | None

    def from_side(self, subject: int) -> str:
        """The predicate's name as seen with region `subject` first."""
        return self.predicate.name if self.relation.subject == subject else self.predicate.inverse


class SpatialRulesFilter:
    """Judges kept relations whose predicate is spatial; the others are left alone.

    A passed test is recorded as a verdict that keeps the relation with its degree. Relations that geometry cannot tell
    (no box, no depth) are counted as `no-geometry` and `no-depth`, and still checked for doubles and contradictions.
    """

    def __init__(self, options: SpatialRulesOptions) -> None:
        self.options = options
        self._least = options.min_degree

    def filter(self, samples: Sequence[Sample], /) -> list[Answer]:
        """The verdicts on each sample."""
        return [self._one(sample.graph) for sample in samples]

    def _one(self, graph: SceneGraph) -> Edit:
        spatial = [
            (index, relation, predicate)
            for index, relation in graph.relations.items()
            if (predicate := canonical(relation.predicate)) is not None
        ]
        if not spatial:
            return Edit()
        geometry = Geometry.of(graph)
        judged = _measure(geometry, spatial)
        rejected: dict[int, Verdict] = {}
        for item in judged:
            if item.degree is not None and item.degree < self._least:
                reason = self._evidence(geometry, item)
                rejected[item.index] = Verdict("relation", item.index, REJECTED, reason, item.degree)
        if self.options.duplicates:
            _reject_duplicates(judged, rejected)
        if self.options.contradictions:
            _reject_contradictions(judged, rejected)
        verdicts = [
            rejected.get(item.index) or Verdict("relation", item.index, KEPT, None, item.degree)
            for item in judged
            if item.index in rejected or item.degree is not None
        ]
        return Edit(verdicts=verdicts, faults=_untold(geometry, judged))

    def _evidence(self, geometry: Geometry, item: _Judged) -> str:
        """Which evidence would allow the relation if it stood alone decides what contradicts it."""
        ends = [item.relation.subject, item.relation.object]
        name = item.predicate.name
        pair = np.array([[0, 1]])
        if item.predicate.needs_depth:
            by_depth = Geometry.from_boxes([(0, 0, 1, 1)] * 2, geometry.depth[ends])
            return "depth-contradicts" if degrees(by_depth, pair, [name])[0, 0] < self._least else "boxes-contradict"
        by_boxes = Geometry.from_boxes(geometry.boxes[ends])
        return "boxes-contradict" if degrees(by_boxes, pair, [name])[0, 0] < self._least else "masks-contradict"


def _measure(geometry: Geometry, spatial: Sequence[tuple[int, Relation, Predicate]]) -> list[_Judged]:
    names = sorted({predicate.name for _, _, predicate in spatial})
    pairs = np.array([(relation.subject, relation.object) for _, relation, _ in spatial], np.int64)
    columns = [names.index(predicate.name) for _, _, predicate in spatial]
    measured = degrees(geometry, pairs, names)[np.arange(len(spatial)), columns].tolist()
    return [
        _Judged(index, relation, predicate, None if math.isnan(degree) else degree)
        for (index, relation, predicate), degree in zip(spatial, measured, strict=True)
    ]


def _reject_duplicates(judged: Sequence[_Judged], rejected: dict[int, Verdict]) -> None:
    seen: set[tuple[int, str, int]] = set()
    for item in judged:
        key = (item.relation.subject, item.predicate.name, item.relation.object)
        if item.index in rejected:
            continue
        if key in seen:
            rejected[item.index] = Verdict("relation", item.index, REJECTED, "duplicate", item.degree)
        seen.add(key)


def _reject_contradictions(judged: Sequence[_Judged], rejected: dict[int, Verdict]) -> None:
    """From the firmest down: whatever excludes a relation that stands is rejected."""
    standing: dict[frozenset[int], list[_Judged]] = {}
    for item in sorted(judged, key=_firmness, reverse=True):
        if item.index in rejected:
            continue
        subject = item.relation.subject
        others = standing.setdefault(frozenset((subject, item.relation.object)), [])
        if any(are_contradictory(item.predicate.name, other.from_side(subject)) for other in others):
            rejected[item.index] = Verdict("relation", item.index, REJECTED, "contradictory-pair", item.degree)
        else:
            others.append(item)


def _firmness(item: _Judged) -> tuple[float, float, int]:
    """Degree first, then score; what cannot be measured comes last, and of equals the earlier row stands."""
    score = item.relation.score
    return (-1.0 if item.degree is None else item.degree, 1.0 if score is None else score, -item.index)


def _untold(geometry: Geometry, judged: Sequence[_Judged]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in judged:
        if item.degree is None:
            ends = [item.relation.subject, item.relation.object]
            reason = "no-depth" if geometry.has_box[ends].all() else "no-geometry"
            counts[reason] = counts.get(reason, 0) + 1
    return counts
