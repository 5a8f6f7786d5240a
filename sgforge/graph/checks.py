"""What a field of a row may hold: checked, and rounded to float32, when a value is built."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

from sgforge.errors import GraphError
from sgforge.text.wording import shortened

__all__ = [
    "CATEGORIES",
    "KEPT",
    "REJECTED",
    "Box",
    "Category",
    "Status",
    "check_status",
    "to_box",
    "to_float32",
    "to_real",
    "to_rows",
    "to_texts",
    "to_unit",
]

Box: TypeAlias = tuple[float, float, float, float]
Status = Literal["kept", "rejected"]
Category = Literal["unknown", "spatial", "interactional", "functional", "social", "emotional"]
CATEGORIES: Final[tuple[str, ...]] = get_args(Category)
KEPT: Final = "kept"
REJECTED: Final = "rejected"

_FLOAT = struct.Struct("<f")
_BOX = struct.Struct("<4f")
_FLOAT32_MAX = 3.4028234663852886e38


def to_float32(value: float) -> float:
    """`value` rounded to the nearest float32, as a Python float; NaN and infinities are a `GraphError`."""
    try:
        fits = -_FLOAT32_MAX <= value <= _FLOAT32_MAX
    except TypeError:
        raise GraphError(f"{value!r} is not a number") from None
    if not fits:
        raise GraphError(f"{value!r} is not a finite float32 number")
    rounded: float = _FLOAT.unpack(_FLOAT.pack(value))[0]
    return rounded


def to_box(value: Sequence[float] | None) -> Box | None:
    """Four finite float32 numbers with x0 < x1 and y0 < y1, or None; anything else is a `GraphError`."""
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = value
        box: Box = _BOX.unpack(_BOX.pack(x0, y0, x1, y1))
    except (TypeError, ValueError, OverflowError, struct.error):
        raise GraphError(f"box {value!r} is not four numbers (x0, y0, x1, y1) in pixels") from None
    x0, y0, x1, y1 = box
    # Written so that NaN fails it.
    if not (x0 < x1 and y0 < y1 and -math.inf < x0 and -math.inf < y0 and x1 < math.inf and y1 < math.inf):
        raise GraphError(f"box {tuple(value)!r} must be finite with x0 < x1 and y0 < y1")
    return box


def to_unit(value: float | None) -> float | None:
    """A score in [0, 1] as float32, or None."""
    if value is None:
        return None
    try:
        fits = 0.0 <= value <= 1.0 and not isinstance(value, bool)
    except TypeError:
        fits = False
    if not fits:
        raise GraphError(f"score {value!r} must be a number in [0, 1]")
    return to_float32(value)


def to_real(value: float | None) -> float | None:
    """A finite float32 number, or None."""
    return None if value is None else to_float32(value)


def to_texts(value: Iterable[str]) -> tuple[str, ...]:
    """Texts as a tuple; a single text, which would become its letters, and a dict are refused."""
    if not value and (type(value) is list or type(value) is tuple):  # most are, and graphs are built by the million
        return ()
    if isinstance(value, str):
        raise GraphError(f"expected a list of texts, got the single text {value!r}")
    if isinstance(value, dict):
        raise GraphError(f"expected a list of texts, got {shortened(value)}, of which only the keys would be kept")
    texts = tuple(value)
    for text in texts:
        if not isinstance(text, str):
            raise GraphError(f"expected texts, got {text!r}")
    return texts


def to_rows(value: Iterable[Any]) -> tuple[Any, ...]:
    """Rows as a tuple; one alone, which is no list, is a `GraphError`."""
    if type(value) is tuple:  # most are, and the test below costs more than all else that building an Edit does
        return value
    if type(value) is list:
        return tuple(value)
    if not isinstance(value, Iterable):
        raise GraphError(f"expected a list, got {shortened(value)}: put it into [ ]")
    return tuple(value)


def check_status(status: str) -> None:
    """Refuse a status that is neither kept nor rejected."""
    if status not in (KEPT, REJECTED):
        raise GraphError(f"status {status!r} must be 'kept' or 'rejected'")
