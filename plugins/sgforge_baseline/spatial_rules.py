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
from sgforge_baseline.known import canonical_text

__all__ = ["REASONS", "SpatialRulesFilter"]

REASONS: Final[Mapping[str, str]] = {
    "boxes-contradict": "the boxes do not lie as the predicate says",
    "masks-contradict": "the boxes would allow the predicate, the masks do not",
    "depth-contradicts": "the boxes would allow the predicate, the depths do not",
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
    """Judges kept relations whose predicate is spatial; of the others it only rejects duplicates.

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
        geometry = Geometry.of(graph)
        judged = _measure(geometry, spatial)
        rejected = self._contradicted(geometry, judged)
        degree_of = {item.index: item.degree for item in judged}
        if self.options.duplicates:
            _reject_duplicates(graph, degree_of, rejected)
        if self.options.contradictions:
            _reject_contradictions(judged, rejected)
        verdicts = [
            rejected.get(index)
            or Verdict(target="relation", index=index, status=KEPT, reason=None, degree=degree_of[index])
            for index in graph.relations
            if index in rejected or degree_of.get(index) is not None
        ]
        return Edit(verdicts=verdicts, faults=_untold(geometry, judged))

    def _contradicted(self, geometry: Geometry, judged: Sequence[_Judged]) -> dict[int, Verdict]:
        """Verdicts on what holds to less than the least degree.

        The reason is the first evidence that contradicts it, alone or with those before: boxes, depth, masks. Of a
        predicate that needs depth it is depth, unless that alone would allow it.
        """
        low = [item for item in judged if item.degree is not None and item.degree < self._least]
        if not low:
            return {}
        boxes = geometry.boxes
        in_place = np.broadcast_to(np.array([0.0, 0.0, 1.0, 1.0]), boxes.shape)
        by_boxes = _degrees_of(Geometry.from_boxes(boxes), low)
        by_boxes_and_depth = _degrees_of(Geometry.from_boxes(boxes, geometry.depth), low)
        by_depth = _degrees_of(Geometry.from_boxes(in_place, geometry.depth), low)
        verdicts = {}
        for item, plain, deep, depth in zip(low, by_boxes, by_boxes_and_depth, by_depth, strict=True):
            if item.predicate.needs_depth:
                reason = "depth-contradicts" if depth < self._least else "boxes-contradict"
            elif plain < self._least:
                reason = "boxes-contradict"
            else:
                reason = "depth-contradicts" if deep < self._least else "masks-contradict"
            verdicts[item.index] = Verdict(
                target="relation", index=item.index, status=REJECTED, reason=reason, degree=item.degree
            )
        return verdicts


def _measure(geometry: Geometry, spatial: Sequence[tuple[int, Relation, Predicate]]) -> list[_Judged]:
    items = [_Judged(index, relation, predicate, None) for index, relation, predicate in spatial]
    return [
        attrs.evolve(item, degree=None if math.isnan(degree) else degree)
        for item, degree in zip(items, _degrees_of(geometry, items), strict=True)
    ]


def _degrees_of(geometry: Geometry, items: Sequence[_Judged]) -> list[float]:
    """The degree of each relation by this geometry, NaN where it cannot be told."""
    names = sorted({item.predicate.name for item in items})
    pairs = np.array([(item.relation.subject, item.relation.object) for item in items], np.int64).reshape(-1, 2)
    columns = np.array([names.index(item.predicate.name) for item in items], np.int64)
    measured: list[float] = degrees(geometry, pairs, names)[np.arange(len(items)), columns].tolist()
    return measured


def _reject_duplicates(graph: SceneGraph, degree_of: Mapping[int, float | None], rejected: dict[int, Verdict]) -> None:
    seen: set[tuple[int, str, int]] = set()
    for index, relation in graph.relations.items():
        if index in rejected:
            continue
        key = (relation.subject, canonical_text(relation.predicate), relation.object)
        if key in seen:
            rejected[index] = Verdict(
                target="relation", index=index, status=REJECTED, reason="duplicate", degree=degree_of.get(index)
            )
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
            rejected[item.index] = Verdict(
                target="relation", index=item.index, status=REJECTED, reason="contradictory-pair", degree=item.degree
            )
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
