"""Rows of a COCO file from values of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Region, Relation, Sample
from sgforge.jsonl import shortest
from sgforge_formats.coco.annotation import CROWD, OWN
from sgforge_formats.coco.categories import CategoryId
from sgforge_formats.coco.extras import Extras

__all__ = [
    "ImageName",
    "Place",
    "Written",
    "annotation_row",
    "image_row",
    "places_of",
    "relation_row",
    "usual_id",
    "xywh",
]

_MOST_BITS: Final = 63
_MOST_DECIMALS: Final = 17


@attrs.frozen
class Place:
    """Where a region is, as COCO writes it: bbox, area in pixels, and its mask as run lengths of the full frame."""

    bbox: Sequence[float]
    area: float
    segmentation: Mapping[str, Any] | None


@attrs.frozen
class ImageName:
    """How an image is named in the file: its id there, its file in the folder of images."""

    number: int | str
    file_name: str


@attrs.frozen
class Written:
    """What the rows of one image share: the image, its name, what stands in its attributes, ids of its annotations.

    By index of the region: `polygons`, what its mask was made of; `annotations` and `categories`, ids.
    """

    sample: Sample
    name: ImageName
    extras: Extras
    polygons: Mapping[int, Any]
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


def places_of(regions: Sequence[Region]) -> list[Place]:
    """The places of regions that have a box, or a mask with pixels."""
    masked = [region.mask for region in regions if region.mask is not None]
    counts, areas = masks.to_coco_with_areas(masked)
    outlines = iter(zip(counts, areas.tolist(), strict=True))
    boxes = np.array([region.box or (region.mask and region.mask.box) for region in regions], np.float32).reshape(-1, 4)
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    places = []
    for region, bbox, area in zip(regions, xywh(boxes).tolist(), shortest(sides.prod(axis=1)).tolist(), strict=True):
        if region.mask is None:
            places.append(Place(bbox, area, None))
        else:
            text, pixels = next(outlines)
            size = [region.mask.height, region.mask.width]
            places.append(Place(bbox, pixels, {"size": size, "counts": text.decode("ascii")}))
    return places


def annotation_row(written: Written, index: int, region: Region, place: Place) -> dict[str, Any]:
    """A row of `annotations` for the region of that index."""
    row: dict[str, Any] = {
        "id": written.annotations[index],
        "image_id": written.name.number,
        "category_id": written.categories[index],
        "bbox": place.bbox,
        "area": place.area,
        "iscrowd": int(CROWD in region.attributes),
    }
    if place.segmentation is not None:
        polygons = written.polygons.get(index)
        row["segmentation"] = polygons if _still_make(polygons, region) else place.segmentation
    points = written.extras.keypoints.get(index)
    if points is not None:
        row["keypoints"] = points
        row["num_keypoints"] = sum(1 for visibility in points[2::3] if visibility)
    if region.score is not None:
        row["score"] = _short(region.score)
    row[f"{OWN}region"] = index
    _add_own_fields(row, written, region)
    return row


def _still_make(polygons: Sequence[Any] | None, region: Region) -> bool:
    """Whether a mask is still that of the polygons it was read as."""
    if not polygons or region.mask is None:
        return False
    try:
        return masks.from_polygons(polygons, region.mask.height, region.mask.width) == region.mask
    except (GraphError, TypeError):  # the value may be of anybody
        return False


def _add_own_fields(row: dict[str, Any], written: Written, region: Region) -> None:
    if region.attributes and (texts := [text for text in region.attributes if text != CROWD]):
        row[f"{OWN}attributes"] = texts
    if region.descriptions:
        row[f"{OWN}descriptions"] = list(region.descriptions)
    if region.depth is not None:
        row[f"{OWN}depth"] = _short(region.depth)
    if region.parent is not None and region.parent in written.annotations:
        row[f"{OWN}parent"] = written.annotations[region.parent]
    for name in ("level", "source", "made_by"):
        value = getattr(region, name)
        if value is not None:
            row[OWN + name] = value
    row.update(_extras(_verdict(region)))


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
    """Our own fields that have a value."""
    return {f"{OWN}{name}": value for name, value in values.items() if value is not None and value not in ([], {})}


def usual_id(image_id: str) -> int | str:
    """A whole number where the id is the usual text of one that readers of JSON take (63 bits), as COCO has it."""
    try:
        number = int(image_id)
    except ValueError:
        return image_id
    return number if str(number) == image_id and number.bit_length() <= _MOST_BITS else image_id


def xywh(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(N, 4) x, y, width, height of xyxy boxes, as short as float32 allows: adding up gives exactly these boxes."""
    corners = shortest(boxes.reshape(-1)).reshape(-1, 4)
    low, high = corners[:, :2].reshape(-1), corners[:, 2:].reshape(-1)
    wanted = boxes[:, 2:].reshape(-1)
    extents = high - low
    left = np.arange(len(low))
    for decimals in range(_MOST_DECIMALS):
        near = np.round(high[left] - low[left], decimals)
        fits = ((low[left] + near).astype(np.float32) == wanted[left]) & (near > 0)
        extents[left[fits]] = near[fits]
        left = left[~fits]
        if not len(left):
            break
    return np.concatenate([corners[:, :2], extents.reshape(-1, 2)], axis=1)


def _short(value: float) -> float:
    """The shortest decimal that is this float32."""
    return float(shortest(np.array([value], np.float32))[0])
