"""The k best cells of a table of scores without sorting it: most of a wide table can never be among them."""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["top_cells"]

_SPARE: Final = 4
"""Maxima for each cell that is wanted: the more there are, the closer their `count`-th best is to that of all cells."""
_TINY: Final = np.float32(1e-30)
_SLACK: Final = np.float32(1 - 1e-6)
_SMALLEST: Final = np.finfo(np.float32).smallest_subnormal


def top_cells(scores: np.ndarray, factor: np.ndarray, count: int) -> np.ndarray:
    """Flat places of the `count` best products of scores (P, C) and their row's factor (P,), the best first, int64.

    float32, finite, factors not negative. Products of 0 or less are left out; of equal ones the earlier place is first.
    """
    rows = np.flatnonzero(factor > 0)
    if not scores.size or not len(rows):
        return np.zeros(0, np.int64)
    table = scores if len(rows) == len(scores) else scores[rows]
    factor, width = factor[rows], scores.shape[1]
    # A product rounds, so that a cell may reach the least from just below the quotient.
    with np.errstate(over="ignore"):  # no cell of such a row reaches the least
        floor = np.maximum(_reached(table, factor, count) / factor * _SLACK, _SMALLEST)
    near = np.flatnonzero(table >= floor[:, None])
    product = table.reshape(-1)[near] * factor[near // width]
    near, product = near[product > 0], product[product > 0]
    best = near[np.argsort(-product, kind="stable")[:count]]
    found: np.ndarray = rows[best // width] * width + best % width
    return found


def _reached(table: np.ndarray, factor: np.ndarray, count: int) -> np.float32:
    """A product that at least `count` cells reach: the `count`-th best of the maxima of spans, 0 where those are fewer.

    Spans do not overlap, so as many different cells have these maxima.
    """
    spans = min(-(-_SPARE * count // len(table)), table.shape[1])
    length = table.shape[1] // spans
    whole = spans * length
    highest = table[:, :whole].reshape(len(table), spans, length).max(axis=2)
    if whole < table.shape[1]:
        highest = np.column_stack([highest, table[:, whole:].max(axis=1)])
    maxima = (highest * factor[:, None]).reshape(-1)
    if len(maxima) < count:
        return np.float32(0)
    reached = np.partition(maxima, len(maxima) - count)[len(maxima) - count]
    # The smallest products round by more than a millionth.
    return np.float32(reached if reached > _TINY else 0)
