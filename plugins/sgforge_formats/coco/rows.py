"""Rows of a COCO file from values of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from sgforge.graph import Box, Region, Relation, Sample
from sgforge_formats.coco.annotation import CROWD

__all__ = ["Outline", "annotation_row", "image_row", "relation_row", "xywh"]


@attrs.frozen
class Outline:
    """A mask as COCO writes it: compressed run lengths of the full frame, and its area in pixels."""

    counts: str
    area: int


def image_row(sample: Sample) -> dict[str, Any]:
    """A row of `images`."""
    name = sample.uri.partition(":")[2] if sample.uri is not None else ""
    row = {
        "id": _image_id(sample.image_id),
        "file_name": name or sample.image_id,
        "width": sample.graph.width,
        "height": sample.graph.height,
    }
    extra = {"uri": sample.uri, "split": sample.split, "attributes": dict(sample.graph.attributes)}
    return row | _extras(extra)


def annotation_row(
    sample: Sample, index: int, numbers: Mapping[int, int], categories: Mapping[str, int], outline: Outline | None
) -> dict[str, Any]:
    """A row of `annotations` for region `index`; `numbers`: annotation ids by region, `outline`: of its mask."""
    region = sample.graph.all.regions[index]
    assert region.label is not None
    box = sample.graph.box_of(index)
    row: dict[str, Any] = {
        "id": numbers[index],
        "image_id": _image_id(sample.image_id),
        "category_id": categories[region.label],
        "bbox": xywh(box),
        "area": outline.area if outline is not None else _short((box[2] - box[0]) * (box[3] - box[1])),
        "iscrowd": int(CROWD in region.attributes),
    }
    if outline is not None:
        row["segmentation"] = {"size": [sample.graph.height, sample.graph.width], "counts": outline.counts}
    if region.score is not None:
        row["score"] = _short(region.score)
    extra = {
        "region": index,
        "attributes": [text for text in region.attributes if text != CROWD],
        "descriptions": list(region.descriptions),
        "depth": None if region.depth is None else _short(region.depth),
        "parent": None if region.parent is None else numbers.get(region.parent),
        "level": region.level,
        "source": region.source,
        "made_by": region.made_by,
    }
    return row | _extras(extra | _verdict(region))


def relation_row(sample: Sample, relation: Relation, numbers: Mapping[int, int]) -> dict[str, Any]:
    """A row of `sgforge_relations`."""
    row = {
        "image_id": _image_id(sample.image_id),
        "subject": numbers[relation.subject],
        "predicate": relation.predicate,
        "object": numbers[relation.object],
        "category": relation.category,
        "score": None if relation.score is None else _short(relation.score),
        "made_by": relation.made_by,
    }
    return {name: value for name, value in (row | _verdict(relation)).items() if value is not None}


def _verdict(row: Region | Relation) -> dict[str, Any]:
    degree = None if row.degree is None else _short(row.degree)
    given = row.reason is not None or degree is not None or not row.kept
    return {"status": row.status, "reason": row.reason, "degree": degree, "judged_by": row.judged_by} if given else {}


def _extras(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"sgforge_{name}": value for name, value in values.items() if value is not None and value not in ([], {})}


def _image_id(image_id: str) -> int | str:
    """A whole number where the id is the usual text of one, as COCO has it."""
    usual = image_id.isascii() and image_id.isdigit() and str(int(image_id)) == image_id
    return int(image_id) if usual and len(image_id) < 16 else image_id


def xywh(box: Box) -> list[float]:
    """(x, y, width, height), as short as float32 allows: adding them up again gives exactly this box."""
    x0, y0, x1, y1 = (_short(side) for side in box)
    return [x0, y0, _extent(x0, x1), _extent(y0, y1)]


def _extent(low: float, high: float) -> float:
    """The shortest decimal d for which low + d is `high` in float32."""
    wanted = np.float32(high)
    for digits in range(17):
        extent = round(high - low, digits)
        if np.float32(low + extent) == wanted and extent > 0:
            return extent
    return high - low


def _short(value: float) -> float:
    """The shortest decimal that is this float32."""
    return float(str(np.float32(value)))
