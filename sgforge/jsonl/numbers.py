"""Float32 numbers as JSON writes them: with as few decimals as tell them apart from their neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["shortest", "shortest_or_none"]

_DECIMALS: Final = 7
_DIGITS: Final = tuple(range(1, 10))
"""Significant digits of the rest, very small numbers; 9 always suffice for a float32."""


def shortest(values: NDArray[Any]) -> NDArray[np.float64]:
    """For each float32 the double with the fewest decimals that rounds to it; NaN and infinities stay."""
    given = np.asarray(values, np.float32)
    exact = given.astype(np.float64)
    found = exact.copy()
    left = np.flatnonzero(np.isfinite(exact) & (exact != np.floor(exact)))
    for decimals in range(1, _DECIMALS + 1):
        if not len(left):
            break
        near = np.round(exact[left], decimals)
        fits = near.astype(np.float32) == given[left]
        found[left[fits]] = near[fits]
        left = left[~fits]
    for index in left.tolist():
        found[index] = _by_digits(float(exact[index]))
    return found


def shortest_or_none(values: Iterable[float | None]) -> list[float | None]:
    """The same for numbers of which some are missing."""
    given = list(values)
    if all(value is None for value in given):
        return given
    short = shortest(np.array([np.nan if value is None else value for value in given], np.float32)).tolist()
    return [None if value is None else near for value, near in zip(given, short, strict=True)]


def _by_digits(value: float) -> float:
    near = value
    for digits in _DIGITS:
        near = float(f"{value:.{digits}g}")
        if np.float32(near) == np.float32(value):
            break
    return near
