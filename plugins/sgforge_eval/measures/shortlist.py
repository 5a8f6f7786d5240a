"""The cells of one image's table of scores that can be listed: a wide table is read once and never held.

Over thousands of predicates nearly all of a pair x predicate table can be in no list of the best; what is left is a few
hundred cells an image, as exact as the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from sgforge.top_k import top_cells
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.measures.ranking import clean_scores

__all__ = ["Cells", "cells_of_columns", "clean_table", "listed_cells"]

_NOT_FINITE = np.uint32(0x7F800000)


@attrs.frozen(eq=False)
class Cells:
    """Chosen cells of a table: `pair`, `column` (n,) and `score` (n,) float32; of a pair the best first."""

    pair: Ints
    column: Ints
    score: Floats

    @classmethod
    def of(cls, scores: Floats, flat: Sequence[Ints]) -> Cells:
        """The cells at these flat places of a table (P, C), each once."""
        pair, column = np.divmod(np.unique(np.concatenate(flat)), max(scores.shape[1], 1))
        score = scores[pair, column]
        # The weights of a pair are the same for all its cells, but their products may round to one number.
        order = np.lexsort((column, -score, pair))
        return cls(pair[order], column[order], score[order])


def clean_table(scores: Floats) -> tuple[Floats, Floats, int]:
    """(P, C) float32 scores with what is not finite set to 0, the best of each row, and how many were not finite."""
    if not scores.size:
        return scores, np.zeros(len(scores), np.float32), 0
    scores = np.ascontiguousarray(scores)
    # Read as integers, finite scores from 0 up keep their order, and what is negative or not finite lies above them.
    highest = scores.view(np.uint32).max(axis=1)
    best: Floats = highest.view(np.float32)
    odd = highest >= _NOT_FINITE
    if not odd.any():
        return scores, best, 0
    rows, count = clean_scores(scores[odd])
    scores, best = scores.copy(), best.copy()
    scores[odd], best[odd] = rows, rows.max(axis=1)
    return scores, best, count


def listed_cells(
    scores: Floats, best: Floats, weight: Floats, limit: int, pair_limit: int | None, always: Flags
) -> Cells:
    """The cells of the lists of the best `limit`, with and without graph constraint, and the best one of some pairs.

    `scores` (P, C) finite, `best` (P,) of each row, `weight` (P,) of the pairs; `pair_limit` as in `rank_predictions`;
    `always` (P,) bool: pairs whose best cell is needed whatever it ranks.
    """
    value = _proposed(best, weight)
    order = np.argsort(-value, kind="stable")[:limit]
    pairs = np.sort(order[value[order] > 0])
    table, columns = (scores if len(pairs) == len(scores) else scores[pairs]), scores.shape[1]
    # Only the best pairs hold the best triplets.
    local = [top_cells(table, weight[pairs], limit), _best_of_rows(table, pair_limit or 0)]
    flat = [pairs[cell // columns] * columns + cell % columns for cell in local]
    missing = np.flatnonzero(always & (value > 0))
    return Cells.of(scores, [*flat, missing * columns + scores[missing].argmax(axis=1)])


def _proposed(best: Floats, weight: Floats) -> Floats:
    """The value of each pair's best cell, 0 where it is not proposed."""
    return np.where((best > 0) & (weight > 0), best * weight, np.float32(0))


def _best_of_rows(table: Floats, count: int) -> Ints:
    """Flat cells of the best `count` of each row; ties keep the lowest column."""
    found: list[Ints] = [np.zeros(0, np.int64)]
    start = np.arange(len(table)) * table.shape[1]
    for place in range(min(count, table.shape[1])):
        if place:
            table = table.copy() if place == 1 else table
            table.reshape(-1)[found[-1]] = -1
        found.append(start + table.argmax(axis=1))
    return np.concatenate(found)


def cells_of_columns(scores: Floats, best: Floats, weight: Floats, columns: Ints, always: Flags) -> Cells:
    """All cells of some columns, the best one of some pairs, and the best of all, which tells that there is any."""
    width = scores.shape[1]
    value = _proposed(best, weight)
    pairs = np.flatnonzero(value > 0)
    needed = np.flatnonzero(always & (value > 0))
    if len(pairs):
        needed = np.union1d(needed, [value.argmax()])
    chosen = (pairs[:, None] * width + columns).reshape(-1)
    chosen = chosen[scores.reshape(-1)[chosen] > 0]
    return Cells.of(scores, [chosen, needed * width + scores[needed].argmax(axis=1)])
