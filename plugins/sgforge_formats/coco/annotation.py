"""One annotation or segment of a COCO file, checked: its label, its box, its score, whether it is a crowd."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from sgforge.graph import Box
from sgforge.text.wording import shortened
from sgforge_formats.coco.categories import Category, CategoryId, find_category
from sgforge_formats.coco.document import Raw
from sgforge_formats.coco.findings import Findings
from sgforge_formats.coco.images import ImageEntry
from sgforge_formats.reading.checks import Fault, is_plain
from sgforge_formats.reading.numbers import read_number, read_whole

__all__ = ["CROWD", "OWN", "Annotation", "UnusableAnnotationError", "read_annotation"]

CROWD: Final = "crowd"
"""The attribute of a region that COCO marks with iscrowd: one mask over many instances."""

OWN: Final = "sgforge_"
"""What the names of fields begin with that sgforge writes beside COCO's own."""

_OUTSIDE: Final = 0.5
"""Pixels that a box may end outside its picture before it is remarked: annotation tools round."""
_SMALLEST_SIDE: Final = 2
_PLAIN: Final = frozenset([int, float])
_LARGEST: Final = 1e308
_READ: Final = frozenset(
    [
        "id",
        "image_id",
        "category_id",
        "bbox",
        "segmentation",
        "area",
        "iscrowd",
        "score",
        "attributes",
        "caption",
        "keypoints",
        "num_keypoints",
        "isthing",
        "file_name",
        "segments_info",
        "obj_ann_id",
        "attribute_ids",
        "dom_color_ids",
    ]
)


class Annotation(NamedTuple):
    """What a COCO annotation says of one region.

    `box` is None where the outline has to give it, `box_fault` then says what is wrong with the bbox that is there.
    `own`: the names of its fields that sgforge writes. `faults`: what is left out of it and harms no more than itself.
    """

    category: Category | None
    box: Box | None
    box_fault: Fault | None = None
    attributes: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    score: float | None = None
    keypoints: str | None = None
    own: Sequence[str] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def label(self) -> str | None:
        """The name of its category."""
        return None if self.category is None else self.category.name


class UnusableAnnotationError(Exception):
    """An annotation that cannot be used, with its fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)


def read_annotation(
    raw: Raw, categories: Mapping[CategoryId, Category] | None, entry: ImageEntry, findings: Findings
) -> Annotation:
    """The checked annotation; one that cannot be used is an `UnusableAnnotationError`."""
    category = _category(raw, categories, findings)
    crowd = raw.get("iscrowd")
    crowd = read_whole(crowd) if isinstance(crowd, str) else crowd
    if crowd not in (0, 1, None) or (crowd is None and raw.get("iscrowd") is not None):
        raise UnusableAnnotationError("bad-annotation", f"iscrowd {shortened(raw['iscrowd'])} must be 0 or 1")
    faults: list[Fault] = []
    box, box_fault = _box(raw.get("bbox"), entry, findings)
    texts = _attributes(raw["attributes"], faults) if "attributes" in raw else ()
    own, unread = _other_fields(tuple(raw))
    if unread:
        findings.unread.update(unread)
    return Annotation(
        category=category,
        box=box,
        box_fault=box_fault,
        attributes=(*texts, CROWD) if crowd else texts,
        descriptions=_description(raw["caption"], faults) if "caption" in raw else (),
        score=_score(raw["score"], faults) if "score" in raw else None,
        keypoints=_keypoints(raw["keypoints"], faults) if raw.get("keypoints") else None,
        own=own,
        faults=tuple(faults),
    )


@lru_cache(maxsize=256)
def _other_fields(names: tuple[str, ...]) -> tuple[Sequence[str], Sequence[str]]:
    """Of the names of a row's fields those that sgforge writes, and those that nobody reads."""
    others = [name for name in names if name not in _READ]
    own = tuple(name for name in others if name.startswith(OWN))
    return own, tuple(name for name in others if name not in own)


def _category(raw: Raw, categories: Mapping[CategoryId, Category] | None, findings: Findings) -> Category | None:
    if categories is None or "category_id" not in raw:
        findings.unlabelled += 1
        return None
    category = find_category(categories, raw["category_id"])
    if category is None:
        given = raw["category_id"]
        named = "it has no category_id" if given is None else f"there is no category {shortened(given)}"
        raise UnusableAnnotationError("unknown-category", named)
    if not is_plain(category.name):
        raise UnusableAnnotationError(
            "bad-label", f"the name {category.name!r} of category {category.number} holds control characters"
        )
    return category


def _box(value: Any, entry: ImageEntry, findings: Findings) -> tuple[Box | None, Fault | None]:
    if value is None:
        return None, None
    if _are_plain(value):
        numbers = value
    else:
        numbers = [read_number(number) for number in value] if isinstance(value, list) else []
    if len(numbers) != 4 or None in numbers:
        return None, Fault("bad-box", f"bbox {shortened(value)} must be four finite numbers x, y, width, height")
    x, y, width, height = cast("list[float]", numbers)
    if width <= 0 or height <= 0:
        return None, Fault("bad-box", f"bbox {shortened(value)} must have a width and a height above 0")
    x1, y1 = x + width, y + height
    if x1 <= 0 or y1 <= 0 or x >= entry.width or y >= entry.height:
        detail = f"bbox {shortened(value)} lies outside its image of {entry.width}x{entry.height}"
        return None, Fault("outside-image", detail)
    findings.boxes += 1
    if x < -_OUTSIDE or y < -_OUTSIDE or x1 > entry.width + _OUTSIDE or y1 > entry.height + _OUTSIDE:
        findings.leaving += 1
    elif x1 <= 1 and y1 <= 1 and entry.width > _SMALLEST_SIDE and entry.height > _SMALLEST_SIDE:
        findings.shares += 1
    return (x, y, x1, y1), None


def _are_plain(value: Any) -> bool:
    """Whether it is a list of finite numbers, as nearly all boxes are."""
    if type(value) is not list or not value or not set(map(type, value)) <= _PLAIN:
        return False
    # Compared one by one: a whole number of hundreds of digits cannot be added to a float.
    return all(-_LARGEST <= number <= _LARGEST for number in value)


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) and read_number(value) is not None


def _score(value: Any, faults: list[Fault]) -> float | None:
    if value is None:
        return None
    number = read_number(value)
    if number is not None and 0 <= number <= 1:
        return float(number)
    faults.append(Fault("bad-score", f"score {shortened(value)} must be a number from 0 to 1; it is left out"))
    return None


def _attributes(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    """A list of texts as it is; an object as "name: value", a yes as the name alone."""
    texts: list[Any] = [value]
    if value is None or isinstance(value, (list, dict)):
        texts = list(value or ()) if not isinstance(value, dict) else [_pair(*pair) for pair in value.items()]
    good = tuple(text for text in texts if isinstance(text, str) and text and is_plain(text))
    if len(good) < len(texts):
        faults.append(
            Fault("bad-attribute", f"{len(texts) - len(good)} of attributes {shortened(value)} must be a plain text")
        )
    return good


def _pair(name: str, value: Any) -> str:
    if value is True:
        return name
    return f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _description(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    if isinstance(value, str) and value and is_plain(value):
        return (value,)
    faults.append(Fault("bad-caption", f"caption {shortened(value)} must be a text without control characters"))
    return ()


def _keypoints(value: Any, faults: list[Fault]) -> str | None:
    """x, y, visibility of each point, one after another, as JSON text."""
    if isinstance(value, list) and len(value) % 3 == 0 and all(_is_number(number) for number in value):
        return json.dumps(value)
    faults.append(Fault("bad-keypoints", "keypoints must be finite numbers, x, y and visibility of each point"))
    return None
