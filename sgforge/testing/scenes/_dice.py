"""Seeded choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Dice"]

T = TypeVar("T")


class Dice:
    """Seeded choices; only integers and uniform numbers, which are the same on every platform."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._random.integers(len(options)))]

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._random.random())

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both possible."""
        return int(self._random.integers(low, high + 1))

    def chance(self, part: float) -> bool:
        return float(self._random.random()) < part

    def noise(self, rows: int, columns: int) -> npt.NDArray[np.float32]:
        """(rows, columns) float32 in [0, 1)."""
        return self._random.random((rows, columns), dtype=np.float32)
