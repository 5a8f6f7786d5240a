"""Numbers as writers of annotation files have them: 1, 1.0 from a table of floats, "1" from one of texts."""

from __future__ import annotations

import math
import re
from typing import Any, Final

__all__ = ["EXACT", "read_number", "read_whole", "to_whole"]

EXACT: Final = 2**53
"""From here on a float is not one whole number, but several."""
_LARGEST: Final = 1.7976931348623157e308
_SHORT: Final = 32
_WHOLE: Final = re.compile(r"\s*([-+]?[0-9]{1,4000})(?:\.0*)?\s*", re.ASCII)
_NUMBER: Final = re.compile(
    r"\s*[-+]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?\s*", re.ASCII
)


def to_whole(value: Any) -> int | None:
    """The whole number that `value` stands for; None if it is none."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float) and abs(value) < EXACT and value.is_integer():
        return int(value)
    return None


def read_whole(value: Any) -> int | None:
    """As `to_whole`, and the whole number that a text is, such as "40" or "40.0"."""
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value)
        return None if found is None else int(found[1])
    return to_whole(value)


def read_number(value: Any) -> float | None:
    """The finite number that `value` is, or that its text says; None if it is none."""
    if type(value) is float or type(value) is int:  # nearly all that is asked
        return value if -_LARGEST <= value <= _LARGEST else None
    if isinstance(value, str):
        is_plain = len(value) < _SHORT and value.isascii() and value.replace(".", "", 1).isdecimal()
        number = float(value) if is_plain or _NUMBER.fullmatch(value) else math.inf
        return number if -_LARGEST <= number <= _LARGEST else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and -_LARGEST <= value <= _LARGEST else None
