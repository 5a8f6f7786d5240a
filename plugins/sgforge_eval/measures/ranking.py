"""Which predicted triplets count: the best of each image, in order, from distributions or from listed rows.

A triplet's score is its predicate's score times the scores of its two regions; equal scores keep the order in which
they were given. What has no positive finite score is not proposed and never takes a rank. Only the best pairs of an
image can hold its best triplets, so the full pair x predicate table is read once for its row maxima and never sorted.
"""

from __future__ import annotations

import attrs
import numpy as np

from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import Dense, Listed, offsets_of

__all__ = ["Ranked", "Rankings", "clean_scores", "occurrence", "rank_predictions", "rank_within"]

_NOTHING = np.uint32(0xFFFFFFFF)
_BLOCK_CELLS = 1 << 19  # cells of the pair x predicate table worked on at once: 2 MB, which stays in cache


@attrs.frozen(eq=False)
class Ranked:
    """Listed triplets, images ascending, ranks (0-based) ascending within each; all (n,) int64.

    `subject`, `object` are rows of the predicted objects, `predicate` codes; `score` (n,) float32.
    """

    image: Ints
    subject: Ints
    object: Ints
    predicate: Ints
    rank: Ints
    score: Floats


@attrs.frozen(eq=False)
class Rankings:
    """The two lists of a batch: `constrained` has the best predicate(s) of each pair, `free` every predicate.

    `answered` (N,) bool: the image has at least one listed pair, whatever its scores.
    """

    constrained: Ranked
    free: Ranked | None
    answered: Flags


def rank_predictions(
    predictions: Dense | Listed, limit: int, *, pair_limit: int | None = 1, free: bool = True, in_order: bool = False
) -> Rankings:
    """The best `limit` triplets of each image, under the graph constraint and (`free`) without it.

    `pair_limit`: how many predicates a pair may list in the constrained ranking, None for all. `in_order`: pairs are
    ranked as they are listed (the public evaluators never sort), not by score; the free ranking is always by score.
    """
    if isinstance(predictions, Dense):
        return _rank_dense(predictions, limit, pair_limit, free, in_order)
    return _rank_listed(predictions, limit, pair_limit, free, in_order)


def _rank_listed(listed: Listed, limit: int, pair_limit: int | None, free: bool, in_order: bool) -> Rankings:
    weight = listed.objects.scores[listed.subject] * listed.objects.scores[listed.object]
    value, _ = clean_scores(listed.scores * weight)
    pair = listed.subject * max(len(listed.objects.labels), 1) + listed.object
    best = _distinct(listed, pair, value)
    if pair_limit is not None:
        chosen = best[occurrence(pair[best]) < pair_limit]
        if in_order:
            chosen = chosen[np.argsort(_first_rows(pair, value > 0, pair[chosen]), kind="stable")]
    else:
        chosen = _distinct(listed, pair, np.where(value > 0, positions(listed.offsets), 0)) if in_order else best
    return Rankings(
        _listed_rows(listed, chosen, value, limit),
        _listed_rows(listed, best, value, limit) if free else None,
        np.diff(listed.offsets) > 0,
    )


def _distinct(listed: Listed, pair: Ints, order_by: Floats) -> Ints:
    """Proposed rows of each image by descending `order_by`, equal triplets once."""
    longest = int(np.diff(listed.offsets).max(initial=0))
    rows, _ = top_of_segments(listed.offsets, order_by, max(longest, 1))
    predicate = listed.predicate[rows]
    # A name outside of the vocabulary (-1) is not a repetition of another one.
    key = pair[rows] * (int(predicate.max(initial=0)) + 2) + predicate + 1
    distinct: Ints = rows[(predicate < 0) | (occurrence(key) == 0)]
    return distinct


def _first_rows(pair: Ints, proposed: Flags, wanted: Ints) -> Ints:
    """For each wanted pair, its first proposed row."""
    rows = np.flatnonzero(proposed)
    known, first = np.unique(pair[rows], return_index=True)
    found: Ints = rows[first][np.searchsorted(known, wanted)]
    return found


def _image_of(listed: Listed, rows: Ints) -> Ints:
    return np.searchsorted(listed.offsets, rows, side="right") - 1


def _listed_rows(listed: Listed, rows: Ints, value: Floats, limit: int) -> Ranked:
    image = _image_of(listed, rows)
    _, rank = rank_within(offsets_of(np.bincount(image, minlength=len(listed.offsets) - 1)))
    rows, image, rank = rows[rank < limit], image[rank < limit], rank[rank < limit]
    return Ranked(
        image=image,
        subject=listed.subject[rows],
        object=listed.object[rows],
        predicate=listed.predicate[rows],
        rank=rank,
        score=value[rows],
    )


def _rank_dense(dense: Dense, limit: int, pair_limit: int | None, free: bool, in_order: bool) -> Rankings:
    scores = dense.scores
    if scores.size == 0:
        empty = _table_rows(dense, np.zeros(0, np.int64), np.zeros(len(dense.offsets), np.int64), 1)
        return Rankings(empty, empty if free else None, np.diff(dense.offsets) > 0)
    best: Floats = scores.max(axis=1)
    if not np.isfinite(best).all():
        scores, _ = clean_scores(scores)
        best = scores.max(axis=1)
    weight, _ = clean_scores(dense.objects.scores[dense.subject] * dense.objects.scores[dense.object])
    value = best * weight
    order_by = np.where(value > 0, positions(dense.offsets), np.float32(0)) if in_order else value
    pairs, offsets = top_of_segments(dense.offsets, order_by, limit)
    columns = scores.shape[1]
    if pair_limit == 1:
        cells = pairs * columns + scores[pairs].argmax(axis=1)
        constrained = _table_rows(dense, cells, offsets, columns, value[pairs])
    else:
        # By pair order in_order has no meaning for several predicates a pair: they are ranked by score.
        constrained = _best_cells(dense, scores, weight, value, limit, pair_limit)
    return Rankings(
        constrained,
        _best_cells(dense, scores, weight, value, limit, None) if free else None,
        np.diff(dense.offsets) > 0,
    )


def _table_rows(
    dense: Dense,
    cells: Ints,
    offsets: Ints,
    columns: int,
    score: Floats | None = None,
) -> Ranked:
    image, rank = rank_within(offsets)
    pair, column = np.divmod(cells, columns)
    predicate = dense.columns[column].astype(np.int64) if len(column) else column
    if score is None:
        score = np.zeros(len(cells), np.float32)
    return Ranked(
        image=image, subject=dense.subject[pair], object=dense.object[pair], predicate=predicate, rank=rank, score=score
    )


def _best_cells(
    dense: Dense,
    scores: Floats,
    weight: Floats,
    value: Floats,
    limit: int,
    pair_limit: int | None,
) -> Ranked:
    """The best cells of the pair x predicate table of each image, `pair_limit` of a pair at most."""
    columns = scores.shape[1]
    pairs, offsets = top_of_segments(dense.offsets, value, limit)
    pairs.sort()  # rows ascend with images, so each image keeps its own; equal scores then keep the order of the pairs
    counts = np.diff(offsets)
    width = max(int(counts.max(initial=0)), 1)
    block = max(1, _BLOCK_CELLS // (width * columns))
    cells, cell_values, kept = [], [], []
    for start in range(0, len(counts), block):
        end = min(start + block, len(counts))
        inside = np.arange(width) < counts[start:end, None]
        slots = np.where(inside, offsets[start:end, None] + np.arange(width), 0)
        chosen = pairs[slots] if len(pairs) else slots
        factor = np.where(inside, weight[chosen], np.float32(0))
        table = scores[chosen.ravel()]
        if pair_limit is not None:
            table = _only_best(table, pair_limit)
        table = (table * factor.reshape(-1, 1)).reshape(end - start, width * columns)
        hit = _above_limit(table, limit)
        image, cell = np.divmod(hit, table.shape[1])
        slot, column = np.divmod(cell, columns)
        cells.append(chosen[image, slot] * columns + column)
        cell_values.append(table.reshape(-1)[hit])
        kept.append(np.bincount(image, minlength=end - start))
    found, values = np.concatenate(cells), np.concatenate(cell_values)
    rows, out = top_of_segments(offsets_of(np.concatenate(kept)), values, limit)
    return _table_rows(dense, found[rows], out, columns, values[rows])


def _above_limit(table: Floats, limit: int) -> Ints:
    """Flat positions of the positive cells that reach the `limit`-th best of their row (ties included)."""
    if table.shape[1] <= limit:
        return np.flatnonzero(table > 0)
    at = table.shape[1] - limit
    threshold = np.partition(table, at, axis=1)[:, at]
    return np.flatnonzero((table >= threshold[:, None]) & (table > 0))


def _only_best(table: Floats, count: int) -> Floats:
    """`table` with all but the `count` best cells of each row set to 0; ties keep the lowest column."""
    best = np.argsort(-table, axis=1, kind="stable")[:, :count]
    result = np.zeros_like(table)
    np.put_along_axis(result, best, np.take_along_axis(table, best, axis=1), axis=1)
    return result


def clean_scores(scores: Floats) -> tuple[Floats, int]:
    """`scores` with what is not finite set to 0 (a copy where needed), and how many that were."""
    bad = ~np.isfinite(scores)
    count = int(np.count_nonzero(bad))
    return (np.where(bad, np.float32(0), scores) if count else scores), count


def _padded(starts: Ints, counts: Ints, scores: Floats) -> Floats:
    """(n, width) scores of the segments, 0 where a segment is shorter than the widest."""
    width = int(counts.max())
    if (counts == width).all() and (np.diff(starts) == width).all():
        return scores[starts[0] : starts[0] + width * len(starts)].reshape(len(starts), width)
    column = np.arange(width)
    inside = column < counts[:, None]
    return np.where(inside, scores[np.where(inside, starts[:, None] + column, 0)], np.float32(0))


def _ordered(table: Floats, limit: int) -> tuple[Ints, Ints]:
    """Columns of the best `limit` of each row in stable descending order, and how many of them are proposed."""
    bits = np.ascontiguousarray(table, np.float32).view(np.uint32)
    keys = np.where(table > 0, _NOTHING - bits, _NOTHING).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(table.shape[1], dtype=np.uint64)
    if table.shape[1] > 2 * limit:
        keys = np.partition(keys, limit, axis=1)[:, :limit]
    keys.sort(axis=1)
    keys = keys[:, :limit]
    proposed = (keys >> np.uint64(32)) != _NOTHING
    return (keys & np.uint64(_NOTHING)).astype(np.int64), proposed.sum(axis=1)


def top_of_segments(offsets: Ints, scores: Floats, limit: int) -> tuple[Ints, Ints]:
    """Rows of the best `limit` scores of each segment, best first, and the offsets (N + 1) of what was kept.

    `scores` (offsets[-1],) must be free of NaN; what is 0 or less is left out; ties keep their order. Segments of like
    length are sorted together.
    """
    counts = np.diff(offsets)
    kept = np.zeros(len(counts), np.int64)
    parts: list[tuple[Ints, Ints]] = []
    magnitude = np.frexp(counts.astype(np.float64))[1]
    for size in np.unique(magnitude[counts > 0]):
        segments = np.flatnonzero((magnitude == size) & (counts > 0))
        columns, proposed = _ordered(_padded(offsets[segments], counts[segments], scores), limit)
        kept[segments] = proposed
        parts.append((segments, columns))
    out = offsets_of(kept)
    rows: Ints = np.empty(out[-1], np.int64)
    for members, columns in parts:
        position = np.arange(columns.shape[1])
        inside = position < kept[members][:, None]
        rows[(out[members][:, None] + position)[inside]] = (offsets[members][:, None] + columns)[inside]
    return rows, out


def rank_within(offsets: Ints) -> tuple[Ints, Ints]:
    """Segment number and position within its segment of every row."""
    counts = np.diff(offsets)
    image = np.repeat(np.arange(len(counts)), counts)
    return image, np.arange(offsets[-1]) - offsets[image]


def occurrence(keys: Ints) -> Ints:
    """How many equal keys stand before each row."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), bool), ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.concatenate([starts, [len(keys)]]))
    result = np.empty(len(keys), np.int64)
    result[order] = np.arange(len(keys)) - np.repeat(starts, lengths)
    return result


def positions(offsets: Ints) -> Floats:
    """Scores that make the order of a sort the order of the rows."""
    _, position = rank_within(offsets)
    return (1.0 / (1.0 + position.astype(np.float64))).astype(np.float32)
