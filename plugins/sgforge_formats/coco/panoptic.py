"""Regions of one image from COCO panoptic: a PNG whose colours are segment ids, and a list that says what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from sgforge import masks
from sgforge.errors import ImageError
from sgforge.graph import Mask
from sgforge.images import Roots
from sgforge.stages import SourceFailure
from sgforge_formats.checks import Fault, join_uri
from sgforge_formats.coco.annotation import Annotation, UnusableAnnotationError, read_annotation
from sgforge_formats.coco.categories import Category, CategoryId
from sgforge_formats.coco.document import Item
from sgforge_formats.coco.findings import Findings
from sgforge_formats.coco.images import ImageEntry
from sgforge_formats.coco.instances import FoundRegion, Regions, make_region
from sgforge_formats.coco.numbers import to_whole

__all__ = ["VOID", "Segments", "panoptic_regions"]

VOID: Final = 0
"""The id of pixels that belong to no segment."""
_CHUNK: Final = 64_000_000


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
    for (segment, annotation), mask in zip(good, _masks(ids, [one.raw["id"] for one, _ in good]), strict=True):
        found.append(FoundRegion(make_region(annotation, mask, findings), annotation, segment))
        failures += [fault.of(f"{source.name}: {segment.where}", entry.image_id) for fault in annotation.faults]
    return Regions(found, failures)


def _read_ids(entry: ImageEntry, item: Item, source: Segments) -> npt.NDArray[np.int32]:
    """(H, W) segment ids: R + 256 G + 65536 B."""
    name = item.raw.get("file_name")
    if not isinstance(name, str) or not name:
        raise UnusableAnnotationError("bad-annotation", "a panoptic annotation needs file_name, its id PNG")
    try:
        rgb = source.roots.image(join_uri(source.folder_uri, name)).array().astype(np.int32)
    except ImageError as error:
        raise UnusableAnnotationError("bad-segments-file", str(error)) from None
    if rgb.shape[:2] != (entry.height, entry.width):
        raise UnusableAnnotationError(
            "mask-size", f"id PNG {name} is {rgb.shape[1]}x{rgb.shape[0]}, its image {entry.width}x{entry.height}"
        )
    ids: npt.NDArray[np.int32] = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    return ids


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


def _masks(ids: npt.NDArray[np.int32], numbers: Sequence[int]) -> Iterator[Mask]:
    """The mask of each segment; some at a time, so that large images with many segments stay small in memory."""
    step = max(1, _CHUNK // max(ids.size, 1))
    for start in range(0, len(numbers), step):
        chosen = np.array(numbers[start : start + step], np.int64)
        yield from masks.from_arrays(ids[None] == chosen[:, None, None])
