"""Values that are made once and kept, up to a bound: what graphs share is looked up millions of times."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

__all__ = ["Kept"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(dict[K, V]):
    """`kept[key]` is `make(key)`; the first `most` values are kept, later ones are made each time.

    Unlike `functools.lru_cache` it writes nothing where a value is found, and takes a key that is there already.
    """

    def __init__(self, make: Callable[[K], V], most: int) -> None:
        self._make = make
        self._most = most

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        if len(self) < self._most:
            self[key] = value
        return value
