"""Regions of one image from COCO instances: boxes, polygons, run lengths."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Mask, Region
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened, with_article
from sgforge_formats.coco.annotation import Annotation, UnusableAnnotationError, read_annotation
from sgforge_formats.coco.categories import Category, CategoryId
from sgforge_formats.coco.document import Item, Raw
from sgforge_formats.coco.findings import Findings
from sgforge_formats.coco.images import ImageEntry
from sgforge_formats.reading.checks import Fault
from sgforge_formats.reading.numbers import read_number, read_whole, to_whole

__all__ = ["FoundRegion", "Regions", "instance_regions", "make_region"]

_NUMBER_IN_BATCH: Final = re.compile(r"^mask \d+( of \d+)?: ")
"""What stands before a fault of a batch of masks, and means nothing to who wrote the file."""


class FoundRegion(NamedTuple):
    """A region, the annotation it was made from, and that annotation's row in the file.

    `polygons`: what its mask was made of, where it was made of all the polygons of the row.
    """

    region: Region
    annotation: Annotation
    item: Item
    polygons: Sequence[Sequence[float]] = ()


@attrs.frozen
class Regions:
    """The regions of one image in the order of the file, and what of its annotations could not be used."""

    found: Sequence[FoundRegion]
    failures: Sequence[SourceFailure]


class _Pending(NamedTuple):
    """An annotation whose mask is still to be made: by `polygons`, by `counts`, or not at all."""

    entry: ImageEntry
    item: Item
    annotation: Annotation
    polygons: Sequence[Sequence[float]] | None = None
    counts: str | Sequence[int] | None = None
    faults: tuple[Fault, ...] = ()


@attrs.frozen
class _Outline:
    """The mask of an annotation, and what of its segmentation could not be used."""

    mask: Mask | None = None
    faults: tuple[Fault, ...] = ()


_NO_OUTLINE: Final = _Outline()


def instance_regions(
    images: Sequence[tuple[ImageEntry, Sequence[Item]]],
    categories: Mapping[CategoryId, Category] | None,
    name: str,
    findings: Findings,
) -> list[Regions]:
    """The regions of each image's items, in their order; what cannot be used is left out and told of.

    `name` is that of the file. Masks are made for all images at once, which is several times faster than one by one.
    """
    found: list[list[FoundRegion]] = [[] for _ in images]
    failures: list[list[SourceFailure]] = [[] for _ in images]
    pending: list[_Pending] = []
    owners: list[int] = []
    for owner, (entry, items) in enumerate(images):
        for item in items:
            try:
                annotation = read_annotation(item.raw, categories, entry, findings)
            except UnusableAnnotationError as error:
                failures[owner].append(error.fault.of(f"{name}: {item.where}", entry.image_id))
                continue
            pending.append(_with_outline(item, annotation, entry))
            owners.append(owner)
    for owner, one, outline in zip(owners, pending, _outlines(pending), strict=True):
        faults = [*one.annotation.faults, *one.faults, *outline.faults]
        try:
            region = make_region(one.annotation, outline.mask, findings)
            polygons = () if outline.faults else one.polygons or ()
            found[owner].append(FoundRegion(region, one.annotation, one.item, polygons))
        except UnusableAnnotationError as error:
            faults.append(error.fault)
        if faults:
            where = f"{name}: {one.item.where}"
            failures[owner] += [fault.of(where, one.entry.image_id) for fault in faults]
    return [Regions(regions, faults) for regions, faults in zip(found, failures, strict=True)]


def _with_outline(item: Item, annotation: Annotation, entry: ImageEntry) -> _Pending:
    outline = item.raw.get("segmentation")
    if not outline and (outline is None or isinstance(outline, list)):
        return _Pending(entry, item, annotation)
    if isinstance(outline, list):
        polygons = _polygons(outline)
        if any(polygons):
            return _Pending(entry, item, annotation, polygons=polygons)
    try:
        return _Pending(entry, item, annotation, counts=_counts(outline, entry))
    except UnusableAnnotationError as error:
        return _Pending(entry, item, annotation, faults=(error.fault,))


def _polygons(outline: list[Any]) -> list[Any]:
    """The polygons of a segmentation: a list of numbers, not of lists, is one; what is no list is an empty one."""
    if all(read_number(number) is not None for number in outline):
        outline = [outline]
    return [_in_numbers(polygon) if isinstance(polygon, list) else [] for polygon in outline]


def _in_numbers(polygon: list[Any]) -> list[Any]:
    """The polygon with the numbers that are written as texts."""
    if not any(isinstance(number, str) for number in polygon):
        return polygon
    return [number if (found := read_number(number)) is None else found for number in polygon]


def _counts(outline: Raw | Any, entry: ImageEntry) -> str | Sequence[int]:
    if not isinstance(outline, dict):
        detail = f"segmentation must be a list of polygons, or run lengths, not {_shape(outline)}"
        raise UnusableAnnotationError("bad-mask", detail)
    counts = outline.get("counts")
    size = outline.get("size")
    if not isinstance(size, list) or [read_whole(side) for side in size] != [entry.height, entry.width]:
        raise UnusableAnnotationError(
            "mask-size",
            f"run lengths of size {shortened(outline.get('size'))} do not fit an image of height {entry.height}"
            f" and width {entry.width}",
        )
    if isinstance(counts, list):
        return [run if (whole := to_whole(run)) is None else whole for run in counts]
    if not isinstance(counts, str):
        raise UnusableAnnotationError("bad-mask", f"counts must be a text or a list, not {type(counts).__name__}")
    return counts


def _shape(outline: Any) -> str:
    return "a list of numbers" if isinstance(outline, list) else with_article(type(outline).__name__)


def _outlines(pending: Sequence[_Pending]) -> list[_Outline]:
    """The outline of each; empty where the annotation has none."""
    found = [_NO_OUTLINE] * len(pending)
    ways: tuple[tuple[str, Callable[..., list[Mask]]], ...] = (
        ("polygons", masks.from_polygons_batch),
        ("counts", masks.from_coco_batch),
    )
    for field, convert in ways:
        chosen = [index for index, one in enumerate(pending) if getattr(one, field) is not None]
        given = [getattr(pending[index], field) for index in chosen]
        sizes = [(pending[index].entry.height, pending[index].entry.width) for index in chosen]
        for index, outline in zip(chosen, _convert(convert, given, sizes), strict=True):
            found[index] = outline
    return found


def _convert(convert: Callable[..., list[Mask]], given: list[Any], sizes: list[tuple[int, int]]) -> list[_Outline]:
    """All outlines at once; where one is malformed, by halves until it is found."""
    if not given:
        return []
    try:
        return [_Outline(mask) for mask in convert(given, sizes)]
    except GraphError as error:
        if len(given) == 1:
            fault = Fault("bad-mask", _NUMBER_IN_BATCH.sub("its segmentation: ", str(error)))
            return [_good_parts(given[0], sizes[0], fault) if convert is masks.from_polygons_batch else _fault(fault)]
    half = len(given) // 2
    return _convert(convert, given[:half], sizes[:half]) + _convert(convert, given[half:], sizes[half:])


def _fault(fault: Fault) -> _Outline:
    return _Outline(None, (fault,))


def _good_parts(polygons: Sequence[Any], size: tuple[int, int], fault: Fault) -> _Outline:
    """The outline by those polygons that are well formed; if none is, the fault of the first."""
    good: list[Sequence[float]] = []
    faults: list[Fault] = []
    for number, polygon in enumerate(polygons):
        try:
            masks.from_polygons([polygon], *size)
            good.append(polygon)
        except GraphError as error:
            text = _NUMBER_IN_BATCH.sub("", str(error))
            faults.append(Fault("bad-polygon", f"its segmentation[{number}]: {text}; the other parts are read"))
    return _Outline(masks.from_polygons(good, *size), tuple(faults)) if good else _fault(fault)


def make_region(annotation: Annotation, mask: Mask | None, findings: Findings) -> Region:
    """The region of an annotation with its mask; without a place it is an `UnusableAnnotationError`."""
    box = annotation.box
    try:
        if box is not None:
            return _region(annotation, box, mask)
    except GraphError as error:  # a box that is none in float32
        if mask is None or mask.box is None:
            raise UnusableAnnotationError("bad-box", str(error)) from None
    if mask is None or mask.box is None:
        fault = annotation.box_fault or Fault(
            "bad-box", "an annotation needs a bbox, or a segmentation that covers some pixel"
        )
        raise UnusableAnnotationError(fault.reason, fault.detail)
    findings.from_outline += int(box is not None or annotation.box_fault is not None)
    return _region(annotation, mask.box, mask)


def _region(annotation: Annotation, box: Any, mask: Mask | None) -> Region:
    return Region(
        label=annotation.label,
        box=box,
        mask=mask,
        descriptions=annotation.descriptions,
        attributes=annotation.attributes,
        score=annotation.score,
    )
