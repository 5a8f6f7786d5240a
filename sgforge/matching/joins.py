"""Rows of two tables whose keys agree, and at which rank each row of one is first met in the other."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEVER", "equal_keys", "first_hit"]

Rows: TypeAlias = NDArray[np.integer[Any]]

NEVER: Final = np.int32(2**31 - 1)
"""The rank of what is never met."""
_HASH: Final = np.uint64(0x9E3779B97F4A7C15)


def equal_keys(truth: Rows, keys: Rows) -> tuple[Rows, Rows]:
    """All (i, j) with truth[i] == keys[j]; negative keys match nothing.

    A bit table over hashes throws out nearly all keys before the binary search.
    """
    known = np.flatnonzero(truth >= 0)
    if not len(known) or not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    shift = np.uint64(64 - max(10, int(len(known) * 16 - 1).bit_length()))
    table = np.zeros(1 << (64 - int(shift)), bool)
    table[(truth[known].astype(np.uint64) * _HASH) >> shift] = True
    candidates = np.flatnonzero(table[(keys.astype(np.uint64) * _HASH) >> shift] & (keys >= 0))
    order = known[np.argsort(truth[known], kind="stable")]
    ordered = truth[order]
    low = np.searchsorted(ordered, keys[candidates], "left")
    counts = np.searchsorted(ordered, keys[candidates], "right") - low
    second = np.repeat(candidates, counts)
    begin = np.cumsum(counts) - counts
    first = order[np.arange(len(second)) - np.repeat(begin - low, counts)]
    return first, second


def first_hit(size: int, truth_rows: Rows, ranks: Rows) -> Rows:
    """The smallest rank given for each of `size` truth rows; NEVER where none is."""
    result = np.full(size, NEVER, np.int32)
    np.minimum.at(result, truth_rows, ranks.astype(np.int32))
    return result
