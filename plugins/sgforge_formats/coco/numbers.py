"""Whole numbers as writers of COCO files have them: 1, or 1.0 where a table of floats was written."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["EXACT", "to_whole"]

EXACT: Final = 2**53
"""From here on a float is not one whole number, but several."""


def to_whole(value: Any) -> int | None:
    """The whole number that `value` stands for; None if it is none."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float) and abs(value) < EXACT and value.is_integer():
        return int(value)
    return None
