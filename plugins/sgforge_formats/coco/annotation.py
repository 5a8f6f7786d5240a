"""One annotation or segment of a COCO file, checked: its label, its box, whether it is a crowd."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from sgforge.graph import Box
from sgforge_formats.checks import Fault, is_plain
from sgforge_formats.coco.document import ImageEntry, Raw

__all__ = ["CROWD", "Annotation", "UnusableAnnotationError", "read_annotation"]

CROWD: Final = "crowd"
"""The attribute of a region that COCO marks with iscrowd: one mask over many instances."""


@attrs.frozen
class Annotation:
    """What a COCO annotation says of one region; `box` is None if the file leaves it to the mask."""

    label: str
    box: Box | None
    attributes: tuple[str, ...]


class UnusableAnnotationError(Exception):
    """An annotation that cannot be used, with its fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)


def read_annotation(raw: Raw, categories: Mapping[int, str], entry: ImageEntry) -> Annotation:
    """The checked annotation; one that cannot be used is an `UnusableAnnotationError`."""
    number = raw.get("category_id")
    label = categories.get(number) if isinstance(number, int) and not isinstance(number, bool) else None
    if label is None:
        named = "it has no category_id" if number is None else f"there is no category {number!r}"
        raise UnusableAnnotationError("unknown-category", named)
    if not is_plain(label):
        raise UnusableAnnotationError("bad-label", f"the name {label!r} of category {number} holds control characters")
    crowd = raw.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise UnusableAnnotationError("bad-annotation", f"iscrowd {crowd!r} must be 0 or 1")
    return Annotation(label, _box(raw.get("bbox"), entry), (CROWD,) if crowd else ())


def _box(value: Any, entry: ImageEntry) -> Box | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4 or not all(_is_number(number) for number in value):
        raise UnusableAnnotationError("bad-box", f"bbox {value!r} must be four finite numbers x, y, width, height")
    x, y, width, height = value
    if width <= 0 or height <= 0:
        raise UnusableAnnotationError("bad-box", f"bbox {value!r} must have a width and a height above 0")
    if x + width <= 0 or y + height <= 0 or x >= entry.width or y >= entry.height:
        raise UnusableAnnotationError(
            "outside-image", f"bbox {value!r} lies outside its image of {entry.width}x{entry.height}"
        )
    return (x, y, x + width, y + height)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
