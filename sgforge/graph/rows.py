"""The rows of a graph: Region, with its Mask, and Relation."""

from __future__ import annotations

import attrs

from sgforge.errors import GraphError
from sgforge.graph.checks import (
    CATEGORIES,
    KEPT,
    Box,
    Category,
    Status,
    check_status,
    to_box,
    to_real,
    to_texts,
    to_unit,
)

__all__ = ["Mask", "Region", "Relation"]


@attrs.frozen
class Mask:
    """A binary mask: COCO run lengths of the tight crop around its true pixels.

    `height`, `width`: the frame, in pixels. `x`, `y`, `crop_width`, `crop_height`: the tight crop (all 0 for an empty
    mask). `counts`: COCO's compressed, column-major run lengths of the crop. The tight crop makes equal masks equal
    values; `sgforge.masks` builds masks from arrays, polygons and full-frame run lengths, and decodes them.
    """

    height: int
    width: int
    x: int
    y: int
    crop_width: int
    crop_height: int
    counts: bytes

    def __attrs_post_init__(self) -> None:
        inside = 0 <= self.x <= self.x + self.crop_width <= self.width
        if not (inside and 0 <= self.y <= self.y + self.crop_height <= self.height):
            raise GraphError(
                f"mask crop {self.crop_width}x{self.crop_height} at ({self.x}, {self.y}) leaves its frame "
                f"of {self.width}x{self.height}"
            )

    @property
    def box(self) -> Box | None:
        """The tight xyxy box around the mask, max-exclusive pixels; None for an empty mask."""
        if not self.crop_width or not self.crop_height:
            return None
        return (
            float(self.x),
            float(self.y),
            float(self.x + self.crop_width),
            float(self.y + self.crop_height),
        )


@attrs.frozen
class Region:
    """One region of an image: a box, a mask, or both, or neither (a graph without an image).

    `score` is in [0, 1]. `depth`: median depth of the region, larger is farther, no unit. `parent`: index of the
    region this one is a part of. `level`: granularity, as its `source` (the segmenter's name) defines it.
    `status`, `reason`, `degree`: the last verdict; `made_by`, `judged_by`: names of the steps.
    """

    label: str | None = None
    box: Box | None = attrs.field(default=None, converter=to_box)
    mask: Mask | None = None
    descriptions: tuple[str, ...] = attrs.field(default=(), converter=to_texts)
    attributes: tuple[str, ...] = attrs.field(default=(), converter=to_texts)
    score: float | None = attrs.field(default=None, converter=to_unit)
    depth: float | None = attrs.field(default=None, converter=to_real)
    parent: int | None = None
    level: int | None = None
    source: str | None = None
    status: Status = "kept"
    reason: str | None = None
    degree: float | None = attrs.field(default=None, converter=to_real)
    made_by: str | None = None
    judged_by: str | None = None

    def __attrs_post_init__(self) -> None:
        check_status(self.status)
        if self.label is not None and not isinstance(self.label, str):
            raise GraphError(f"label {self.label!r} must be a text or null")
        if self.level is not None and not (type(self.level) is int and -(2**15) < self.level < 2**15):
            raise GraphError(f"level {self.level!r} must be an int of 16 bits")

    @property
    def kept(self) -> bool:
        """Whether the last verdict keeps this region."""
        return self.status == KEPT


@attrs.frozen
class Relation:
    """A triplet: region `subject` stands in relation `predicate` to region `object` (indices into all regions).

    `score` is P(predicate | subject, object) in [0, 1]; ranking multiplies it by the scores of the two regions.
    """

    subject: int
    predicate: str
    object: int
    category: Category = "unknown"
    score: float | None = attrs.field(default=None, converter=to_unit)
    status: Status = "kept"
    reason: str | None = None
    degree: float | None = attrs.field(default=None, converter=to_real)
    made_by: str | None = None
    judged_by: str | None = None

    def __attrs_post_init__(self) -> None:
        check_status(self.status)
        if self.subject == self.object:
            raise GraphError(f"relation {self.predicate!r} relates region {self.subject} to itself")
        if not isinstance(self.predicate, str) or not self.predicate:
            raise GraphError(f"predicate {self.predicate!r} must be a non-empty text")
        if self.category not in CATEGORIES:
            raise GraphError(f"category must be one of {', '.join(CATEGORIES)}, not {self.category!r}")

    @property
    def kept(self) -> bool:
        """Whether the last verdict keeps this relation (its regions have verdicts of their own)."""
        return self.status == KEPT

    @property
    def triplet(self) -> tuple[int, str, int]:
        """(subject, predicate, object): what makes two rows the same relation."""
        return (self.subject, self.predicate, self.object)
