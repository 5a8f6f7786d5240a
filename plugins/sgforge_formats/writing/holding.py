"""What of a graph a form can hold: rows that are written, and counts of everything that is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs
import numpy as np

from sgforge.graph import Box, Region, Relation, Sample
from sgforge.jsonl import shortest
from sgforge_formats.coco.rows import xywh

__all__ = ["Field", "Held", "held", "plain_number", "plain_xywh", "plain_xyxy"]

Field: TypeAlias = Literal["mask", "descriptions", "attributes", "score", "depth", "parent", "category"]
_OF_REGION: Final[Mapping[str, str]] = {
    "mask": "masks",
    "descriptions": "descriptions",
    "attributes": "attributes",
    "score": "scores of regions",
    "depth": "depths",
    "parent": "parents",
}


@attrs.frozen
class Held:
    """The rows of an image that are written, by index in its graph, and the box of each region.

    `numbers`: the place of a region, by its index, among those that are written.
    """

    regions: Mapping[int, Region]
    boxes: Mapping[int, Box]
    relations: Mapping[int, Relation]
    numbers: Mapping[int, int]


def held(
    sample: Sample,
    counts: Counter[str],
    holds: Collection[Field],
    *,
    labels: Collection[str] | None = None,
    predicates: Collection[str] | None = None,
    needs_label: bool = True,
    needs_box: bool = True,
) -> Held:
    """What is written of a sample by a form that has `holds` beside boxes, labels and predicates; the rest is counted.

    `labels`, `predicates`: the only ones it can name. Rejected rows, and relations of regions that are left out, are
    left out.
    """
    regions: dict[int, Region] = {}
    boxes: dict[int, Box] = {}
    for index, region in enumerate(sample.graph.all.regions):
        box = region.box or (None if region.mask is None else region.mask.box)
        why = _why_not(region, box, labels, needs_label=needs_label, needs_box=needs_box)
        if why is not None:
            counts[f"regions {why} left out"] += 1
            continue
        regions[index] = region
        if box is not None:
            boxes[index] = box
    relations = {}
    for index, relation in enumerate(sample.graph.all.relations):
        if not relation.kept:
            counts["relations rejected left out"] += 1
        elif relation.subject not in regions or relation.object not in regions:
            counts["relations of regions left out"] += 1
        elif predicates is not None and relation.predicate not in predicates:
            counts["relations of predicates that it cannot name left out"] += 1
        else:
            relations[index] = relation
    counts["regions"] += len(regions)
    counts["relations"] += len(relations)
    _count_lost(regions.values(), relations.values(), counts, holds)
    return Held(regions, boxes, relations, {index: number for number, index in enumerate(regions)})


def _why_not(
    region: Region, box: Box | None, labels: Collection[str] | None, *, needs_label: bool, needs_box: bool
) -> str | None:
    if not region.kept:
        return "rejected"
    if needs_label and not region.label:
        return "without a label"
    if needs_box and box is None:
        return "without a box"
    return "of labels that it cannot name" if labels is not None and region.label not in labels else None


def _count_lost(
    regions: Iterable[Region], relations: Iterable[Relation], counts: Counter[str], holds: Collection[Field]
) -> None:
    lost = [field for field in _OF_REGION if field not in holds]
    for region in regions:
        for field in lost:
            value: Any = getattr(region, field)
            if value is not None and value != ():
                counts[f"{_OF_REGION[field]} left out"] += 1
    for relation in relations:
        if relation.score is not None and "score" not in holds:
            counts["scores of relations left out"] += 1
        if relation.category != "unknown" and "category" not in holds:
            counts["categories of relations left out"] += 1


def plain_number(value: float) -> float | int:
    """A number as people write it: whole ones without a point."""
    return int(value) if value.is_integer() else value


def plain_xywh(boxes: Sequence[Box]) -> list[list[float | int]]:
    """x, y, width, height of boxes, as short as float32 allows."""
    rows = xywh(np.array(boxes, np.float32).reshape(-1, 4)).tolist()
    return [[plain_number(value) for value in row] for row in rows]


def plain_xyxy(boxes: Sequence[Box]) -> list[list[float | int]]:
    """x0, y0, x1, y1 of boxes, as short as float32 allows."""
    rows = shortest(np.array(boxes, np.float32).reshape(-1)).reshape(-1, 4).tolist()
    return [[plain_number(value) for value in row] for row in rows]
