"""Listed triplets, and the sorting they share: the best rows of each of many segments at once, ties in order."""

from __future__ import annotations

import attrs
import numpy as np

from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import offsets_of

__all__ = ["Ranked", "Rankings", "clean_scores", "occurrence", "positions", "rank_within", "top_of_segments"]

_NOTHING = np.uint32(0xFFFFFFFF)


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

    `answered` (N,) bool: the image has at least one proposed triplet.
    """

    constrained: Ranked
    free: Ranked | None
    answered: Flags


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
