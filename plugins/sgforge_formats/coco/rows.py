"""Rows of a COCO file from values of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from sgforge.graph import Box, Region, Relation, Sample, to_float32
from sgforge_formats.coco.annotation import CROWD
from sgforge_formats.coco.categories import CategoryId
from sgforge_formats.coco.extras import Extras

__all__ = ["ImageName", "Outline", "Written", "annotation_row", "image_row", "relation_row", "usual_id", "xywh"]

_FEW: Final = 7
"""Decimal digits that most float32 values made from decimal text need; 9 always suffice."""
_MOST_BITS: Final = 63


@attrs.frozen
class Outline:
    """A mask as COCO writes it: compressed run lengths of the full frame, and its area in pixels."""

    counts: str
    area: int


@attrs.frozen
class ImageName:
    """How an image is named in the file: its id there, its file in the folder of images."""

    number: int | str
    file_name: str


@attrs.frozen
class Written:
    """What the rows of one image share: the image, its name, what stands in its attributes, ids of its annotations.

    `annotations` and `categories` are ids by index of the region.
    """

    sample: Sample
    name: ImageName
    extras: Extras
    annotations: Mapping[int, int]
    categories: Mapping[int, CategoryId]


def image_row(sample: Sample, name: ImageName, extras: Extras) -> dict[str, Any]:
    """A row of `images`."""
    row = {
        "id": name.number,
        "file_name": name.file_name,
        "width": sample.graph.width,
        "height": sample.graph.height,
    }
    own_id = None if str(name.number) == sample.image_id else sample.image_id
    extra = {"id": own_id, "uri": sample.uri, "split": sample.split, "attributes": dict(extras.plain)}
    return row | _extras(extra)


def annotation_row(written: Written, index: int, outline: Outline | None) -> dict[str, Any]:
    """A row of `annotations` for region `index`; `outline`: of its mask."""
    graph = written.sample.graph
    region = graph.all.regions[index]
    box = graph.box_of(index)
    row: dict[str, Any] = {
        "id": written.annotations[index],
        "image_id": written.name.number,
        "category_id": written.categories[index],
        "bbox": xywh(box),
        "area": outline.area if outline is not None else _short((box[2] - box[0]) * (box[3] - box[1])),
        "iscrowd": int(CROWD in region.attributes),
    }
    if outline is not None:
        row["segmentation"] = {"size": [graph.height, graph.width], "counts": outline.counts}
    points = written.extras.keypoints.get(index)
    if points is not None:
        row["keypoints"] = points
        row["num_keypoints"] = sum(1 for visibility in points[2::3] if visibility)
    if region.score is not None:
        row["score"] = _short(region.score)
    return row | _own_fields(written, index, region)


def _own_fields(written: Written, index: int, region: Region) -> dict[str, Any]:
    extra = {
        "region": index,
        "attributes": [text for text in region.attributes if text != CROWD],
        "descriptions": list(region.descriptions),
        "depth": None if region.depth is None else _short(region.depth),
        "parent": None if region.parent is None else written.annotations.get(region.parent),
        "level": region.level,
        "source": region.source,
        "made_by": region.made_by,
    }
    return _extras(extra | _verdict(region))


def relation_row(written: Written, relation: Relation) -> dict[str, Any]:
    """A row of `sgforge_relations`."""
    row = {
        "image_id": written.name.number,
        "subject": written.annotations[relation.subject],
        "predicate": relation.predicate,
        "object": written.annotations[relation.object],
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


def usual_id(image_id: str) -> int | str:
    """A whole number where the id is the usual text of one that readers of JSON take (63 bits), as COCO has it."""
    try:
        number = int(image_id)
    except ValueError:
        return image_id
    return number if str(number) == image_id and number.bit_length() <= _MOST_BITS else image_id


def xywh(box: Box) -> list[float]:
    """(x, y, width, height), as short as float32 allows: adding them up again gives exactly this box."""
    x0, y0, x1, y1 = (_short(side) for side in box)
    return [x0, y0, _extent(x0, x1), _extent(y0, y1)]


def _extent(low: float, high: float) -> float:
    """The shortest decimal d for which low + d is `high` in float32."""
    wanted = to_float32(high)
    for digits in range(17):
        extent = round(high - low, digits)
        if to_float32(low + extent) == wanted and extent > 0:
            return extent
    return high - low


def _short(value: float) -> float:
    """The shortest decimal that is this float32."""
    if value.is_integer():
        return value
    for digits in range(_FEW, 10):
        short = float(f"{value:.{digits}g}")
        if to_float32(short) == value:
            break
    return short
