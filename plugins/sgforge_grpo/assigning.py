"""Who stands for whom in one answer: what `sgforge.matching.hungarian` finds, faster where there are few rows."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgforge.matching import hungarian

__all__ = ["assigned"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_FEW: Final = 64
"""Rows and columns up to which single numbers are faster than rows of them."""


def assigned(cost: Floats) -> Ints:
    """The assignment of least total cost that `hungarian` finds, of equal ones the same: (K, 2) rows and columns."""
    rows, columns = cost.shape
    if max(rows, columns) > _FEW or not np.isfinite(cost).all():
        return hungarian(cost)
    if rows > columns:
        pairs = [(row, column) for column, row in enumerate(_columns_of(cost.T.tolist(), rows))]
    else:
        pairs = list(enumerate(_columns_of(cost.tolist(), columns)))
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _columns_of(table: list[list[float]], columns: int) -> list[int]:
    """The column of each row, of which there are no more than columns (Jonker and Volgenant 1987)."""
    # One column more than there are: where the path of a new row begins, before it has any.
    owner = [-1] * (columns + 1)
    row_price, column_price = [0.0] * len(table), [0.0] * (columns + 1)
    for row in range(len(table)):
        _augment(table, row, owner, row_price, column_price)
    place = {row: column for column, row in enumerate(owner[:-1]) if row >= 0}
    return [place[row] for row in range(len(table))]


def _augment(
    table: list[list[float]], row: int, owner: list[int], row_price: list[float], column_price: list[float]
) -> None:
    """Give one more row a column: along the cheapest path, earlier rows move on to other columns."""
    columns = len(owner) - 1
    owner[columns] = row
    at, seen, free = columns, list[int](), list(range(columns))
    nearest, before = [math.inf] * columns, [columns] * columns
    while owner[at] >= 0:
        seen.append(at)
        costs, price = table[owner[at]], row_price[owner[at]]
        gain, following = math.inf, columns
        for column in free:
            # Reduced cost of going from this row to the column; prices keep it from ever being negative.
            step = costs[column] - price - column_price[column]
            if step < nearest[column]:
                nearest[column], before[column] = step, at
            if nearest[column] < gain:
                gain, following = nearest[column], column
        for column in seen:
            row_price[owner[column]] += gain
            column_price[column] -= gain
        for column in free:
            nearest[column] -= gain
        at = following
        free.remove(at)
    while at != columns:
        owner[at] = owner[before[at]]
        at = before[at]
