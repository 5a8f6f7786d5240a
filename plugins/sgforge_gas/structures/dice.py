"""Random numbers that depend on the seed and the number of the item alone: item i is the same in any range or order.

The words of an item are the stream of SplitMix64 (Steele, Lea, Flood 2014) from a state that is a mix of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, count
from typing import Final, TypeVar

import numpy as np

__all__ = ["Dice", "dice_at", "dice_of", "units_of"]

T = TypeVar("T")
_MASK: Final = 2**64 - 1
_STEP: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB
_WORDS: Final = 16
"""Words of an item that are made for all items of a chunk at once; what needs more goes on by itself."""


class Dice:
    """The random numbers of one item; `unit()` is the next of them, in [0, 1), of 53 random bits."""

    __slots__ = ("unit",)

    def __init__(self, units: Iterator[float]) -> None:
        # The iterator's own method: a draw is called some ten times a graph, and graphs are made by the million.
        self.unit: Callable[[], float] = units.__next__

    def below(self, count: int) -> int:
        """A whole number in [0, count), each as likely (but for 2 to the power of -53 times `count`)."""
        return int(self.unit() * count)

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[int(self.unit() * len(options))]

    def weighted(self, weights: Sequence[float]) -> int:
        """A place, by weights that are not negative and not all 0."""
        sums = list(accumulate(weights))
        at = self.unit() * sums[-1]
        return next(place for place, total in enumerate(sums) if at < total)

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of them in a random order."""
        found = list(options)
        for last in range(len(found) - 1, 0, -1):
            other = self.below(last + 1)
            found[last], found[other] = found[other], found[last]
        return found


def _later(state: int) -> Iterator[float]:
    """The numbers behind those that were made for the whole chunk."""
    for step in count(_WORDS + 1):
        yield (_mixed((state + step * _STEP) & _MASK) >> 11) * 2.0**-53


def _mixed(value: int) -> int:
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def dice_of(seed: int, items: range) -> Iterator[Dice]:
    """The dice of each item of a range, made together."""
    states, units = units_of(seed, items)
    return map(dice_at, states, units)


def dice_at(state: np.uint64, units: np.ndarray) -> Dice:
    """The dice of one item of `units_of`."""
    return Dice(chain(units.tolist(), _later(int(state))))


def units_of(seed: int, items: range) -> tuple[np.ndarray, np.ndarray]:
    """Of each item of a range its state, (N,) uint64, and its first numbers in [0, 1), (N, 16) float64."""
    key = np.uint64(_mixed((seed * _STEP + _FIRST) & _MASK))
    numbers = np.array(items, np.uint64)
    states = _mixed_array(key ^ (numbers * np.uint64(_SECOND) + np.uint64(_STEP)))
    steps = np.arange(1, _WORDS + 1, dtype=np.uint64) * np.uint64(_STEP)
    words = _mixed_array(states[:, None] + steps[None])
    return states, (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed_array(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    found: np.ndarray = values ^ (values >> np.uint64(31))
    return found
