"""Who is assigned to whom: one to one, at the least total cost (Hungarian), or the best pair first (greedy)."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgforge.errors import GraphError

__all__ = ["greedy", "hungarian"]

Pairs: TypeAlias = NDArray[np.int64]
Matrix: TypeAlias = NDArray[np.floating[Any]]

_FEW: Final = 64
"""Columns up to which single numbers are faster than rows of them."""


def hungarian(cost: ArrayLike) -> Pairs:
    """The assignment of least total cost, (K, 2) rows and columns by row; K is the shorter side of `cost` (N, M).

    Costs are finite numbers, of either sign; others are a `GraphError`. Of several best assignments one is taken,
    always the same for equal input. Shortest augmenting paths with dual variables (Jonker and Volgenant 1987), among
    many columns a whole row at once: N * N * M additions at the most.
    """
    matrix = _as_matrix(cost)
    if matrix.shape[0] > matrix.shape[1]:
        turned = hungarian(matrix.T)[:, ::-1]
        return turned[np.argsort(turned[:, 0])]
    columns = matrix.shape[1]
    owner = np.array(_owners_of_few(matrix.tolist(), columns) if columns <= _FEW else _owners(matrix), np.int64)
    taken = np.flatnonzero(owner >= 0)
    order = np.argsort(owner[taken])
    return np.stack([owner[taken][order], taken[order]], axis=1).astype(np.int64)


def _owners(matrix: Matrix) -> Pairs:
    """The row of each column, -1 where it has none; there are no more rows than columns."""
    rows, columns = matrix.shape
    # One column more than there are: where the path of a new row begins, before it has any.
    owner = np.full(columns + 1, -1)
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        _augment(matrix, row, owner, row_price, column_price)
    return owner[:-1]


def _augment(matrix: Matrix, row: int, owner: Pairs, row_price: Matrix, column_price: Matrix) -> None:
    """Give one more row a column: along the cheapest path, earlier rows move on to other columns."""
    columns = matrix.shape[1]
    owner[columns] = row
    at = columns
    nearest, before = np.full(columns, np.inf), np.full(columns, columns)
    seen = np.zeros(columns + 1, bool)
    while owner[at] >= 0:
        seen[at] = True
        here = owner[at]
        # Reduced cost of going from this row to each column; prices keep it from ever being negative.
        step = matrix[here] - row_price[here] - column_price[:-1]
        shorter = ~seen[:-1] & (step < nearest)
        nearest[shorter], before[shorter] = step[shorter], at
        following = int(np.where(seen[:-1], np.inf, nearest).argmin())
        gain = nearest[following]
        row_price[owner[seen]] += gain
        column_price[seen] -= gain
        nearest[~seen[:-1]] -= gain
        at = following
    while at != columns:
        owner[at] = owner[before[at]]
        at = before[at]


def _owners_of_few(table: list[list[float]], columns: int) -> list[int]:
    """As `_owners`, the very same steps number by number: among few, calls of numpy cost more than they reckon."""
    owner = [-1] * (columns + 1)
    row_price, column_price = [0.0] * len(table), [0.0] * (columns + 1)
    for row in range(len(table)):
        _augment_few(table, row, owner, row_price, column_price)
    return owner[:-1]


def _augment_few(
    table: list[list[float]], row: int, owner: list[int], row_price: list[float], column_price: list[float]
) -> None:
    columns = len(owner) - 1
    owner[columns] = row
    at, seen, free = columns, list[int](), list(range(columns))
    nearest, before = [math.inf] * columns, [columns] * columns
    while owner[at] >= 0:
        seen.append(at)
        costs, price = table[owner[at]], row_price[owner[at]]
        gain, following = math.inf, columns
        for column in free:
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


def greedy(score: ArrayLike, least: float = -np.inf) -> Pairs:
    """The best pair of `score` (N, M), then the best of the rest, and so on while it is at least `least`; (K, 2).

    Each row and column is used once; of equal scores the lower row, then the lower column goes first. Scores are
    finite numbers; others are a `GraphError`.
    """
    matrix = _as_matrix(score)
    columns = matrix.shape[1]
    chosen: list[tuple[int, int]] = []
    used_rows, used_columns = set[int](), set[int]()
    for flat in np.argsort(-matrix, axis=None, kind="stable").tolist():
        row, column = divmod(flat, columns)
        if matrix[row, column] < least:
            break
        if row not in used_rows and column not in used_columns:
            chosen.append((row, column))
            used_rows.add(row)
            used_columns.add(column)
    return np.array(chosen, np.int64).reshape(-1, 2)


def _as_matrix(values: ArrayLike) -> Matrix:
    matrix = np.asarray(values, np.float64)
    if matrix.ndim != 2:
        raise GraphError(f"an assignment needs a matrix (N, M), not an array of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0].tolist()
        raise GraphError(f"an assignment needs finite numbers, not {matrix[row, column]} in row {row}, column {column}")
    return matrix
