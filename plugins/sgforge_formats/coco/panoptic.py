"""Regions of one image from COCO panoptic: a PNG whose colours are segment ids, and a list that says what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from sgforge.errors import ImageError
from sgforge.images import Roots
from sgforge.stages import SourceFailure
from sgforge_formats.coco.annotation import Annotation, UnusableAnnotationError, read_annotation
from sgforge_formats.coco.categories import Category, CategoryId
from sgforge_formats.coco.document import Item
from sgforge_formats.coco.findings import Findings
from sgforge_formats.coco.images import ImageEntry
from sgforge_formats.coco.instances import FoundRegion, Regions, make_region
from sgforge_formats.reading.checks import Fault, join_uri
from sgforge_formats.reading.numbers import to_whole
from sgforge_formats.reading.segment_png import VOID, segment_ids, segment_masks

__all__ = ["Segments", "panoptic_regions"]


@attrs.frozen
class Segments:
    """Where the segments of a panoptic file are found: the file's name and categories, and the folder of id PNGs."""

    name: str
    categories: Mapping[CategoryId, Category] | None
    roots: Roots
    folder_uri: str


def panoptic_regions(entry: ImageEntry, item: Item, source: Segments, findings: Findings) -> Regions:
    """The segments of `item`, in their order. A bad one is left out and told of."""
    where = f"{source.name}: {item.where}"
    try:
        ids = _read_ids(entry, item, source)
        segments = _segments(item)
    except UnusableAnnotationError as error:
        return Regions((), (error.fault.of(where, entry.image_id),))
    present = set(np.unique(ids).tolist())
    failures: list[SourceFailure] = []
    good: list[tuple[Item, Annotation]] = []
    listed: set[int] = set()
    for position, raw in enumerate(segments):
        try:
            number = _segment_id(raw, present, listed)
            listed.add(number)
            segment = Item(f"{item.where}.segments_info", position, {**raw, "id": number})
            good.append((segment, read_annotation(raw, source.categories, entry, findings)))
        except UnusableAnnotationError as error:
            failures.append(error.fault.of(f"{where}.segments_info[{position}]", entry.image_id))
    for number in sorted(present - listed - {VOID}):
        fault = Fault("unlisted-segment", f"the PNG has pixels of segment {number}, which is not listed")
        failures.append(fault.of(where, entry.image_id))
    found = []
    for (segment, annotation), mask in zip(good, segment_masks(ids, [one.raw["id"] for one, _ in good]), strict=True):
        found.append(FoundRegion(make_region(annotation, mask, findings), annotation, segment))
        failures += [fault.of(f"{source.name}: {segment.where}", entry.image_id) for fault in annotation.faults]
    return Regions(found, failures)


def _read_ids(entry: ImageEntry, item: Item, source: Segments) -> npt.NDArray[np.int32]:
    """(H, W) segment ids: R + 256 G + 65536 B."""
    name = item.raw.get("file_name")
    if not isinstance(name, str) or not name:
        raise UnusableAnnotationError("bad-annotation", "a panoptic annotation needs file_name, its id PNG")
    try:
        rgb = source.roots.image(join_uri(source.folder_uri, name)).array()
    except ImageError as error:
        raise UnusableAnnotationError("bad-segments-file", str(error)) from None
    if rgb.shape[:2] != (entry.height, entry.width):
        raise UnusableAnnotationError(
            "mask-size", f"id PNG {name} is {rgb.shape[1]}x{rgb.shape[0]}, its image {entry.width}x{entry.height}"
        )
    return segment_ids(rgb)


def _segments(item: Item) -> Sequence[Any]:
    segments = item.raw.get("segments_info")
    if not isinstance(segments, list):
        raise UnusableAnnotationError("bad-annotation", "a panoptic annotation needs the list segments_info")
    return segments


def _segment_id(raw: Any, present: set[int], listed: set[int]) -> int:
    given = raw.get("id") if isinstance(raw, dict) else None
    number = to_whole(given)
    if number is None or number == VOID:
        raise UnusableAnnotationError("bad-annotation", f"a segment needs an id above 0, got {given!r}")
    if number in listed:
        raise UnusableAnnotationError("duplicate-annotation", f"segment {number} is listed before")
    if number not in present:
        raise UnusableAnnotationError("missing-segment", f"no pixel of the PNG belongs to segment {number}")
    return number
