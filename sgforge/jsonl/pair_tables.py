"""Relations of a line that are a table: every pair with the same predicates in the same order, one score each.

That is how a full distribution is written; read as a table it costs a third of what its rows do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["PairTable", "pair_table"]

_KEYS: Final = frozenset(("subject", "predicate", "object", "score"))
_FEWEST: Final = 2


@attrs.frozen(eq=False)
class PairTable:
    """`pairs` (P, 2) int32 of region indices, no pair twice; `scores` (P, C) float32 in [0, 1] for C `predicates`."""

    pairs: NDArray[np.int32]
    scores: NDArray[np.float32]
    predicates: tuple[str, ...]


def pair_table(data: Any) -> PairTable | None:
    """The table that the relations of a decoded line are, None if they are none, or break a rule of the format."""
    rows = data.get("relations") if isinstance(data, dict) else None
    regions = data.get("regions") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not isinstance(regions, list) or len(rows) < _FEWEST:
        return None
    if set(map(type, rows)) != {dict} or rows[0].keys() != _KEYS or set(map(len, rows)) != {len(_KEYS)}:
        return None
    try:
        width = _width(rows)
        return _table(rows, width, len(regions)) if width >= _FEWEST and not len(rows) % width else None
    except KeyError:  # as many keys, but others
        return None


def _width(rows: Sequence[Mapping[str, Any]]) -> int:
    """How many rows the first pair has."""
    first, width = (rows[0]["subject"], rows[0]["object"]), 1
    while width < len(rows) and (rows[width]["subject"], rows[width]["object"]) == first:
        width += 1
    return width


def _table(rows: Sequence[Mapping[str, Any]], width: int, regions: int) -> PairTable | None:
    names = [row["predicate"] for row in rows]
    if names != names[:width] * (len(rows) // width) or set(map(type, names[:width])) != {str} or "" in names[:width]:
        return None
    values = [row["score"] for row in rows]
    ends = [row["subject"] for row in rows], [row["object"] for row in rows]
    if set(map(type, values)) != {float} and set(map(type, values)) - {float, int}:
        return None
    if set(map(type, ends[0])) != {int} or set(map(type, ends[1])) != {int} or len(set(names[:width])) != width:
        return None
    try:
        places = np.array(ends, np.int64).reshape(2, -1, width)
    except OverflowError:
        return None
    scores = np.array(values, np.float64)
    pairs = places[:, :, 0].T
    is_whole = (places == places[:, :, :1]).all() and len(np.unique(pairs, axis=0)) == len(pairs)
    if not is_whole or not ((pairs >= 0) & (pairs < regions)).all() or not ((scores >= 0) & (scores <= 1)).all():
        return None
    return PairTable(
        np.ascontiguousarray(pairs, np.int32), scores.astype(np.float32).reshape(-1, width), tuple(names[:width])
    )
