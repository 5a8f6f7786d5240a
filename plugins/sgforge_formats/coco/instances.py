"""Regions of one image from COCO instances: boxes, polygons, run lengths."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Mask, Region
from sgforge.stages import SourceFailure
from sgforge_formats.coco.annotation import Annotation, UnusableAnnotationError, read_annotation
from sgforge_formats.coco.document import ImageEntry, Item, Raw

__all__ = ["Regions", "instance_regions"]

_NUMBER_IN_BATCH: Final = re.compile(r"^mask \d+( of \d+)?: ")
"""What stands before a fault of a batch of masks, and means nothing to who wrote the file."""


@attrs.frozen
class Regions:
    """The regions of one image, and what of its annotations could not be used."""

    regions: tuple[Region, ...]
    failures: tuple[SourceFailure, ...]


@attrs.frozen
class _Pending:
    """An annotation whose mask is still to be made: by `polygons`, by `counts`, or not at all."""

    entry: ImageEntry
    where: str
    annotation: Annotation
    polygons: Sequence[Sequence[float]] | None = None
    counts: str | Sequence[int] | None = None


def instance_regions(
    images: Sequence[tuple[ImageEntry, Sequence[Item]]], categories: Mapping[int, str]
) -> list[Regions]:
    """The regions of each image's items, in their order; a bad one is left out and told of.

    Masks are made for all images at once, which is several times faster than image by image.
    """
    regions: list[list[Region]] = [[] for _ in images]
    failures: list[list[SourceFailure]] = [[] for _ in images]
    pending: list[_Pending] = []
    owners: list[int] = []
    for owner, (entry, items) in enumerate(images):
        for item in items:
            try:
                pending.append(_with_outline(item, read_annotation(item.raw, categories, entry), entry))
                owners.append(owner)
            except UnusableAnnotationError as error:
                failures[owner].append(error.fault.of(item.where, entry.image_id))
    for owner, one, mask in zip(owners, pending, _masks(pending), strict=True):
        try:
            regions[owner].append(_region(one.annotation, mask))
        except UnusableAnnotationError as error:
            failures[owner].append(error.fault.of(one.where, one.entry.image_id))
    return [Regions(tuple(found), tuple(faults)) for found, faults in zip(regions, failures, strict=True)]


def _with_outline(item: Item, annotation: Annotation, entry: ImageEntry) -> _Pending:
    outline = item.raw.get("segmentation")
    if outline is None or outline == []:
        return _Pending(entry, item.where, annotation)
    if isinstance(outline, list):
        if not all(isinstance(polygon, list) for polygon in outline):
            raise UnusableAnnotationError("bad-mask", "segmentation must be a list of polygons, or run lengths")
        return _Pending(entry, item.where, annotation, polygons=outline)
    if isinstance(outline, dict):
        return _Pending(entry, item.where, annotation, counts=_counts(outline, entry))
    raise UnusableAnnotationError(
        "bad-mask", f"segmentation must be polygons or run lengths, not {type(outline).__name__}"
    )


def _counts(outline: Raw, entry: ImageEntry) -> str | Sequence[int]:
    counts = outline.get("counts")
    if outline.get("size") != [entry.height, entry.width]:
        raise UnusableAnnotationError(
            "mask-size",
            f"run lengths of size {outline.get('size')!r} do not fit an image of height {entry.height}"
            f" and width {entry.width}",
        )
    if not isinstance(counts, (str, list)):
        raise UnusableAnnotationError("bad-mask", f"counts must be a text or a list, not {type(counts).__name__}")
    return counts


def _masks(pending: Sequence[_Pending]) -> list[Mask | GraphError | None]:
    """The mask of each, None where there is no outline, an error where it is malformed."""
    found: list[Mask | GraphError | None] = [None] * len(pending)
    ways: tuple[tuple[str, Callable[..., list[Mask]]], ...] = (
        ("polygons", masks.from_polygons_batch),
        ("counts", masks.from_coco_batch),
    )
    for field, convert in ways:
        chosen = [index for index, one in enumerate(pending) if getattr(one, field) is not None]
        outlines = [getattr(pending[index], field) for index in chosen]
        sizes = [(pending[index].entry.height, pending[index].entry.width) for index in chosen]
        for index, mask in zip(chosen, _convert(convert, outlines, sizes), strict=True):
            found[index] = mask
    return found


def _convert(
    convert: Callable[..., list[Mask]], outlines: list[Any], sizes: list[tuple[int, int]]
) -> list[Mask | GraphError]:
    """All outlines at once; where one is malformed, by halves until it is found."""
    if not outlines:
        return []
    try:
        return list(convert(outlines, sizes))
    except GraphError as error:
        if len(outlines) == 1:
            return [error]
    half = len(outlines) // 2
    return _convert(convert, outlines[:half], sizes[:half]) + _convert(convert, outlines[half:], sizes[half:])


def _region(annotation: Annotation, mask: Mask | GraphError | None) -> Region:
    if isinstance(mask, GraphError):
        raise UnusableAnnotationError("bad-mask", _NUMBER_IN_BATCH.sub("its segmentation: ", str(mask)))
    box = annotation.box or (mask.box if mask is not None else None)
    if box is None:
        raise UnusableAnnotationError("bad-box", "an annotation needs a bbox, or a segmentation that covers some pixel")
    try:
        return Region(annotation.label, box, mask, attributes=annotation.attributes)
    except GraphError as error:
        raise UnusableAnnotationError("bad-box", str(error)) from None
