"""What one line of graph JSONL may hold: its keys, their types, and every way in which a line breaks the rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs

from sgforge.decoding import MAX_PIXELS
from sgforge.edits import ValueTarget
from sgforge.errors import GraphError
from sgforge.graph import CATEGORIES, KEPT, REJECTED, to_float32
from sgforge.graph.checks import to_box
from sgforge.jsonl.further import further_values
from sgforge.masks.runs import most_bytes
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import counted

__all__ = [
    "IMAGE_KEYS",
    "IMAGE_REQUIRED",
    "LARGEST",
    "REGION_KEYS",
    "RELATION_KEYS",
    "RELATION_REQUIRED",
    "STATUSES",
    "Flaw",
    "Reason",
    "image_flaws",
    "line_flaws",
    "region_flaws",
    "relation_flaws",
]

Reason = Literal["json", "missing-key", "unknown-key", "type", "value", "index", "mask", "duplicate-id"]
STATUSES: Final = (KEPT, REJECTED)
LARGEST: Final = 2**31 - 1
"""The largest width and height of an image, and of a mask's frame, in pixels."""

_LEVEL_LIMIT: Final = 2**15 - 1
_PLAIN: Final = frozenset((int, float))
_FAR: Final = 1e38
_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class Flaw:
    """One broken rule: JSON path within the line, its reason code, and the sentence for people.

    `key` is the field of the row, "" if the whole row is meant.
    """

    path: str
    key: str
    reason: Reason
    message: str


Complaint = tuple[Reason, str]
Check = Callable[[Any], Complaint | None]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_int(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _text(value: Any) -> Complaint | None:
    return None if isinstance(value, str) else ("type", f"{_shown(value)} must be a text")


def _filled_text(value: Any) -> Complaint | None:
    if not isinstance(value, str):
        return _text(value)
    return None if value else ("value", "must be a non-empty text")


def _texts(value: Any) -> Complaint | None:
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return None
    return "type", f"{_shown(value)} must be a list of texts"


def _texts_by_name(value: Any) -> Complaint | None:
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return None
    return "type", f"{_shown(value)} must be an object whose values are texts"


def _number(value: Any) -> Complaint | None:
    if not _is_number(value):
        return "type", f"{_shown(value)} must be a number"
    try:
        to_float32(value)
    except GraphError as error:
        return "value", str(error)
    return None


def _unit(value: Any) -> Complaint | None:
    if not _is_number(value):
        return "type", f"{_shown(value)} must be a number"
    return None if 0 <= value <= 1 else ("value", f"{value!r} must be in [0, 1]")


def _index(value: Any) -> Complaint | None:
    return None if _is_int(value) else ("type", f"{_shown(value)} must be a whole number")


def _level(value: Any) -> Complaint | None:
    if not _is_int(value):
        return _index(value)
    return None if -_LEVEL_LIMIT <= value <= _LEVEL_LIMIT else ("value", f"{value} must fit 16 bits")


def _side(value: Any) -> Complaint | None:
    if not _is_int(value):
        return _index(value)
    return None if 0 <= value <= LARGEST else ("value", f"{value} must be a number of pixels from 0 to {LARGEST}")


def _status(value: Any) -> Complaint | None:
    return None if value in STATUSES else ("value", f"{_shown(value)} must be 'kept' or 'rejected'")


def _category(value: Any) -> Complaint | None:
    return None if value in CATEGORIES else ("value", f"{_shown(value)} must be one of {', '.join(CATEGORIES)}")


def _sha256(value: Any) -> Complaint | None:
    if isinstance(value, str) and _SHA256.fullmatch(value) and value.strip("0"):
        return None
    return "value", f"{_shown(value)} must be 64 lower-case hexadecimal digits, not all of them 0"


def _box(value: Any, *, flat: bool = False) -> Complaint | None:
    if type(value) is list and _PLAIN.issuperset(map(type, value)) and _is_box(value):
        return None
    # Whatever else it is: say what is wrong, or that it may be flat.
    if not (isinstance(value, list) and len(value) == 4 and all(_is_number(side) for side in value)):
        return "type", f"{_shown(value)} must be four numbers x0, y0, x1, y1"
    try:
        x0, y0, x1, y1 = (to_float32(side) for side in value)
    except GraphError as error:
        return "value", str(error)
    if flat and x0 <= x1 and y0 <= y1:
        return None
    return None if x0 < x1 and y0 < y1 else ("value", f"{value} must have x0 < x1 and y0 < y1")


def _is_box(value: list[float]) -> bool:
    """Whether numbers are a box beyond doubt, at a fraction of the price of saying why not."""
    try:
        box = to_box(value)
    except GraphError:
        return False
    return box is not None and min(box) > -_FAR and max(box) < _FAR


def _flat_box(value: Any) -> Complaint | None:
    return _box(value, flat=True)


def _mask(value: Any) -> Complaint | None:
    if not (isinstance(value, dict) and value.keys() == {"size", "counts"}):
        return "type", f"{_shown(value)} must be an object with the keys size and counts"
    size, counts = value["size"], value["counts"]
    if not (isinstance(size, list) and len(size) == 2 and all(_is_int(side) and 0 <= side <= LARGEST for side in size)):
        return "mask", f"size {_shown(size)} must be [height, width] in pixels"
    if size[0] * size[1] > MAX_PIXELS:
        return "mask", f"size {size} is more than {MAX_PIXELS:,} pixels"
    if not (isinstance(counts, str) and counts.isascii()):
        return "mask", "counts must be COCO's compressed run lengths, a text in ASCII"
    if len(counts) > most_bytes(size[0] * size[1]):
        return "mask", f"counts of {len(counts):,} characters are longer than those of {size[0] * size[1]:,} pixels"
    return None


def _further(target: ValueTarget) -> Check:
    """Values of further columns of an image, region or relation: texts and JSON by the columns' names."""

    def check(value: Any) -> Complaint | None:
        if not isinstance(value, dict):
            return "type", f"{_shown(value)} must be an object: values by the names of their columns"
        try:
            further_values(target, None if target == "image" else 0, value)
        except GraphError as error:
            return "value", str(error)
        return None

    return check


IMAGE_KEYS: Final[Mapping[str, Check]] = {
    "image_id": _filled_text,
    "width": _side,
    "height": _side,
    "uri": _filled_text,
    "split": _text,
    "source": _text,
    "sha256": _sha256,
    "failed": _filled_text,
    "attributes": _texts_by_name,
    "regions": lambda value: None if isinstance(value, list) else ("type", f"{_shown(value)} must be a list"),
    "relations": lambda value: None if isinstance(value, list) else ("type", f"{_shown(value)} must be a list"),
    "x": _further("image"),
}
REGION_KEYS: Final[Mapping[str, Check]] = {
    "label": _text,
    "box": _box,
    "mask": _mask,
    "score": _unit,
    "descriptions": _texts,
    "attributes": _texts,
    "depth": _number,
    "parent": _index,
    "level": _level,
    "source": _text,
    "status": _status,
    "reason": _text,
    "degree": _number,
    "made_by": _text,
    "judged_by": _text,
    "x": _further("region"),
}
RELATION_KEYS: Final[Mapping[str, Check]] = {
    "subject": _index,
    "predicate": _filled_text,
    "object": _index,
    "category": _category,
    "score": _unit,
    "status": _status,
    "reason": _text,
    "degree": _number,
    "made_by": _text,
    "judged_by": _text,
    "x": _further("relation"),
}
_LENIENT_REGION_KEYS: Final[Mapping[str, Check]] = {**REGION_KEYS, "box": _flat_box}
IMAGE_REQUIRED: Final = ("image_id", "width", "height", "regions")
RELATION_REQUIRED: Final = ("subject", "predicate", "object")


def line_flaws(data: Any) -> Iterator[Flaw]:
    """Every broken rule of one decoded line but the run lengths of masks, in the order of keys and rows."""
    fatal = False
    for flaw in image_flaws(data):
        fatal = fatal or not flaw.key or flaw.key in (*IMAGE_REQUIRED, "relations")
        yield flaw
    if fatal:
        return
    regions = data["regions"]
    for index, row in enumerate(regions):
        yield from region_flaws(row, index, data)
    for index, row in enumerate(data.get("relations") or ()):
        yield from relation_flaws(row, index, len(regions))


def _row_flaws(row: Any, path: str, keys: Mapping[str, Check], required: tuple[str, ...]) -> Iterator[Flaw]:
    """Flaws of single fields. Null stands for a missing value wherever one may miss."""
    if not isinstance(row, dict):
        yield Flaw(path, "", "type", f"{_shown(row)} must be an object")
        return
    prefix = f"{path}." if path else ""
    for key in required:
        if row.get(key) is None:
            yield Flaw(prefix + key, key, "missing-key", "is required")
    for key, value in row.items():
        check = keys.get(key)
        if check is None:
            yield Flaw(prefix + key, key, "unknown-key", f"unknown key; {choices(key, keys)}")
        elif value is not None and (complaint := check(value)) is not None:
            yield Flaw(prefix + key, key, *complaint)


def image_flaws(data: Any) -> Iterator[Flaw]:
    """Flaws of the line's own fields; rows are not looked into."""
    good = True
    for flaw in _row_flaws(data, "", IMAGE_KEYS, IMAGE_REQUIRED):
        good = good and flaw.key not in ("", "width", "height")
        yield flaw
    if good and bool(data["width"]) != bool(data["height"]):
        size = f"{data['width']}x{data['height']}"
        yield Flaw("width", "width", "value", f"image size {size} must be positive, or 0x0 without an image")


def region_flaws(row: Any, index: int, data: Mapping[str, Any], *, lenient: bool = False) -> Iterator[Flaw]:
    """Flaws of region `index` of a line whose own fields are right; `lenient` allows a box without area."""
    path = f"regions[{index}]"
    bad = set()
    for flaw in _row_flaws(row, path, _LENIENT_REGION_KEYS if lenient else REGION_KEYS, ()):
        bad.add(flaw.key)
        yield flaw
    if "" in bad:
        return
    parent, count = row.get("parent"), len(data["regions"])
    if parent is not None and "parent" not in bad:
        if not 0 <= parent < count:
            yield Flaw(f"{path}.parent", "parent", "index", _out_of_range(parent, count))
        elif parent == index:
            yield Flaw(f"{path}.parent", "parent", "index", f"region {index} is its own parent")
    mask, (width, height) = row.get("mask"), (data["width"], data["height"])
    if mask is not None and "mask" not in bad and width and mask["size"] != [height, width]:
        message = f"size {mask['size']} must be the image's [height, width] {[height, width]}"
        yield Flaw(f"{path}.mask", "mask", "mask", message)


def relation_flaws(row: Any, index: int, count: int, *, lenient: bool = False) -> Iterator[Flaw]:
    """Flaws of relation `index` of a line with `count` regions; `lenient` allows a relation of a region to itself."""
    path = f"relations[{index}]"
    bad = set()
    for flaw in _row_flaws(row, path, RELATION_KEYS, RELATION_REQUIRED):
        bad.add(flaw.key)
        yield flaw
    if "" in bad:
        return
    for key in ("subject", "object"):
        if key not in bad and not 0 <= row[key] < count:
            yield Flaw(f"{path}.{key}", key, "index", _out_of_range(row[key], count))
    if not lenient and not bad & {"subject", "object"} and row["subject"] == row["object"]:
        yield Flaw(f"{path}.object", "object", "value", f"the relation relates region {row['object']} to itself")


def _out_of_range(index: int, count: int) -> str:
    return f"{index} is out of range: the image has {counted(count, 'region')}"
