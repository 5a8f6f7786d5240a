"""Regions of one image from COCO panoptic: a PNG whose colours are segment ids, and a list that says what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sgforge import masks
from sgforge.errors import ImageError
from sgforge.graph import Mask, Region
from sgforge.images import Roots
from sgforge.stages import SourceFailure
from sgforge_formats.checks import Fault, join_uri
from sgforge_formats.coco.annotation import Annotation, UnusableAnnotationError, read_annotation
from sgforge_formats.coco.document import ImageEntry, Item
from sgforge_formats.coco.instances import Regions

__all__ = ["VOID", "panoptic_regions"]

VOID: Final = 0
"""The id of pixels that belong to no segment."""
_CHUNK: Final = 64_000_000


def panoptic_regions(
    entry: ImageEntry, item: Item, categories: Mapping[int, str], roots: Roots, folder_uri: str
) -> Regions:
    """The segments of `item`, in their order; `folder_uri` holds the id PNGs. A bad one is left out and told of."""
    try:
        ids = _read_ids(entry, item, roots, folder_uri)
        segments = _segments(item)
    except UnusableAnnotationError as error:
        return Regions((), (error.fault.of(item.where, entry.image_id),))
    present = set(np.unique(ids).tolist())
    failures: list[SourceFailure] = []
    good: list[tuple[int, Annotation]] = []
    listed: set[int] = set()
    for position, raw in enumerate(segments):
        try:
            number = _segment_id(raw, present, listed)
            listed.add(number)
            good.append((number, read_annotation(raw, categories, entry)))
        except UnusableAnnotationError as error:
            failures.append(error.fault.of(f"{item.where}.segments_info[{position}]", entry.image_id))
    for number in sorted(present - listed - {VOID}):
        fault = Fault("unlisted-segment", f"the PNG has pixels of segment {number}, which is not listed")
        failures.append(fault.of(item.where, entry.image_id))
    regions = [
        Region(annotation.label, annotation.box or mask.box, mask, attributes=annotation.attributes)
        for (_, annotation), mask in zip(good, _masks(ids, [number for number, _ in good]), strict=True)
    ]
    return Regions(tuple(regions), tuple(failures))


def _read_ids(entry: ImageEntry, item: Item, roots: Roots, folder_uri: str) -> npt.NDArray[np.int32]:
    """(H, W) segment ids: R + 256 G + 65536 B."""
    name = item.raw.get("file_name")
    if not isinstance(name, str) or not name:
        raise UnusableAnnotationError("bad-annotation", "a panoptic annotation needs file_name, its id PNG")
    try:
        rgb = roots.image(join_uri(folder_uri, name)).array().astype(np.int32)
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
    number = raw.get("id") if isinstance(raw, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number == VOID:
        raise UnusableAnnotationError("bad-annotation", f"a segment needs an id above 0, got {number!r}")
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
