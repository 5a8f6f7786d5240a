"""Two graphs of one image matched: kept regions one to one by overlap and label, relations by the regions they join."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge import boxes
from sgforge.errors import GraphError
from sgforge.graph import SceneGraph
from sgforge.labels import Similarity, by_key, normalized
from sgforge.masks import PackedMasks
from sgforge.matching.assignment import greedy, hungarian

__all__ = ["RegionMatch", "match_regions", "match_relations", "region_overlap"]

Floats: TypeAlias = NDArray[np.floating[Any]]
_SAME_NAME: Final = by_key(normalized)


@attrs.frozen
class RegionMatch:
    """One region of the first graph and the one of the second that stands for it, both as indices of their graphs.

    `overlap`: their IoU. `likeness`: how alike their labels are, 1 for the same name.
    """

    first: int
    second: int
    overlap: float
    likeness: float


def region_overlap(
    first: SceneGraph,
    second: SceneGraph,
    *,
    by: Literal["boxes", "masks"] = "boxes",
    pixels: boxes.Convention = "continuous",
) -> Floats:
    """IoU (N, M) of the kept regions of two graphs, float64, in [0, 1] (`pixels` "maelic" may pass 1).

    A region without a box (its mask's box stands in) or, by masks, without a mask overlaps nothing.
    """
    return _mask_overlap(first, second) if by == "masks" else _box_overlap(first, second, pixels)


def match_regions(
    first: SceneGraph,
    second: SceneGraph,
    *,
    how: Literal["hungarian", "greedy"] = "hungarian",
    by: Literal["boxes", "masks"] = "boxes",
    pixels: boxes.Convention = "continuous",
    least: float = 0.5,
    similarity: Similarity | None = _SAME_NAME,
    least_alike: float = 1.0,
) -> tuple[RegionMatch, ...]:
    """Kept regions of two graphs matched one to one, in the order of the first graph.

    A pair can match if its IoU is at least `least` and its labels are at least `least_alike` by `similarity` (None:
    labels do not matter). "hungarian" matches as many pairs as can be, of the greatest sum of IoU and likeness among
    those; "greedy" takes the best pair first, which is what most detection metrics do.
    """
    rows, columns = tuple(first.regions), tuple(second.regions)
    overlap = region_overlap(first, second, by=by, pixels=pixels)
    likeness = _likeness(first, second, similarity)
    possible = (overlap >= least) & (overlap > 0) & (likeness >= least_alike)
    # A pair that cannot match scores 0 and every other more than the sum of what all pairs could win by it.
    bonus = 2.0 * (overlap.max(initial=1.0) + 1.0) * (min(overlap.shape, default=0) + 1)
    score = np.where(possible, bonus + overlap + likeness, 0.0)
    pairs = hungarian(-score) if how == "hungarian" else greedy(score, least=bonus / 2)
    found = sorted((row, column) for row, column in pairs.tolist() if possible[row, column])
    return tuple(
        RegionMatch(
            first=rows[row],
            second=columns[column],
            overlap=float(overlap[row, column]),
            likeness=float(likeness[row, column]),
        )
        for row, column in found
    )


def match_relations(
    first: SceneGraph,
    second: SceneGraph,
    regions: tuple[RegionMatch, ...],
    similarity: Similarity = _SAME_NAME,
    least_alike: float = 1.0,
) -> tuple[tuple[int, int], ...]:
    """Kept relations of two graphs matched one to one: (index in the first, index in the second), in first's order.

    Two relations match if their subjects and objects are matched regions and their predicates are at least
    `least_alike`; of several the most alike is taken, so that one relation never stands for two.
    """
    place = {match.first: match.second for match in regions}
    between: dict[tuple[int, int], list[int]] = {}
    for index, relation in second.relations.items():
        between.setdefault((relation.subject, relation.object), []).append(index)
    pairs: dict[tuple[int, int], list[int]] = {}
    for index, relation in first.relations.items():
        ends = (place.get(relation.subject, -1), place.get(relation.object, -1))
        if ends in between:
            pairs.setdefault(ends, []).append(index)
    found: list[tuple[int, int]] = []
    for ends, mine in pairs.items():
        theirs = between[ends]
        alike = similarity(
            [first.relations[index].predicate for index in mine],
            [second.relations[index].predicate for index in theirs],
        )
        found += [(mine[row], theirs[column]) for row, column in greedy(alike, least_alike).tolist()]
    return tuple(sorted(found))


def _likeness(first: SceneGraph, second: SceneGraph, similarity: Similarity | None) -> Floats:
    sides = [list(graph.regions.values()) for graph in (first, second)]
    found = np.ones((len(sides[0]), len(sides[1])))
    if similarity is None or not found.size:
        return found
    labels = [[region.label or "" for region in side] for side in sides]
    found = np.array(similarity(*labels), np.float64)
    if found.shape != (len(sides[0]), len(sides[1])):
        raise GraphError(f"a similarity of {len(sides[0])} by {len(sides[1])} names answered shape {found.shape}")
    # A region without a label is like no other: two nulls are no agreement.
    found[[region.label is None for region in sides[0]]] = 0.0
    found[:, [region.label is None for region in sides[1]]] = 0.0
    return found


def _box_overlap(first: SceneGraph, second: SceneGraph, pixels: boxes.Convention) -> Floats:
    arrays = [_boxes_of(graph) for graph in (first, second)]
    found = boxes.iou(arrays[0], arrays[1], pixels)
    return np.where(np.isnan(found), 0.0, found)


def _boxes_of(graph: SceneGraph) -> Floats:
    """(N, 4) float64; NaN where a region has neither box nor mask."""
    rows = [
        graph.box_of(index) if region.box is not None or region.mask is not None else (np.nan,) * 4
        for index, region in graph.regions.items()
    ]
    return np.array(rows, np.float64).reshape(-1, 4)


def _mask_overlap(first: SceneGraph, second: SceneGraph) -> Floats:
    sides = [[(row, region.mask) for row, region in enumerate(graph.regions.values())] for graph in (first, second)]
    found = np.zeros((len(sides[0]), len(sides[1])))
    have = [[(row, mask) for row, mask in side if mask is not None] for side in sides]
    if have[0] and have[1]:
        packed = [PackedMasks.from_masks([mask for _, mask in side]) for side in have]
        found[np.ix_([row for row, _ in have[0]], [row for row, _ in have[1]])] = packed[0].iou(packed[1])
    return found
