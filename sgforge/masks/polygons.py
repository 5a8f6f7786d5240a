"""Polygons to masks, pixel for pixel as pycocotools rasterises them (frPyObjects, then merge).

COCO's rule: vertices are rounded to a grid of five points a pixel; the boundary is walked along that grid; where it
passes the centre line of a pixel column, the column's pixels below that point are flipped. Only those passages are
computed here, for all edges of all polygons at once, so that the cost depends on the columns crossed and not on how far
a polygon reaches outside its frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.errors import GraphError
from sgforge.graph import Mask
from sgforge.masks.runs import Columns, Ints, offsets
from sgforge.masks.table import from_columns

__all__ = ["from_polygons", "from_polygons_batch"]

Polygon = Sequence[float]

_GRID: Final = 5
_KEY_BITS: Final = 63
_REACH: Final = 1e8  # pixels; five times this still fits the 32-bit integers of the reference


@attrs.frozen(eq=False)
class _Edges:
    """Edges on the fine grid, from (x0, y0) to (x1, y1); `polygon` (E,) says of which."""

    polygon: Ints
    x0: Ints
    y0: Ints
    x1: Ints
    y1: Ints

    def take(self, rows: Ints) -> _Edges:
        return _Edges(
            polygon=self.polygon[rows], x0=self.x0[rows], y0=self.y0[rows], x1=self.x1[rows], y1=self.y1[rows]
        )


def from_polygons_batch(items: Sequence[Sequence[Polygon]], sizes: Sequence[tuple[int, int]]) -> list[Mask]:
    """One mask per item, the union of the item's polygons (x0, y0, x1, y1, ... in pixels); `sizes` are (height, width).

    A polygon of fewer than three points, with an odd number of values or values that are not finite is a `GraphError`
    naming the mask; parts outside the frame are cut off.
    """
    if len(items) != len(sizes):
        raise GraphError(f"{len(items)} masks need as many sizes, got {len(sizes)}")
    frame = np.array(sizes, np.int64).reshape(-1, 2)
    counts = np.array([len(item) for item in items], np.int64)
    owner = np.repeat(np.arange(len(items)), counts)
    pieces = _fill(_edges(*_points(items)), frame[owner])
    return from_columns(_unite(pieces, owner, counts), frame).masks()


def from_polygons(polygons: Sequence[Polygon], height: int, width: int) -> Mask:
    """The union of polygons (x0, y0, x1, y1, ... in pixels) as one mask."""
    return from_polygons_batch([polygons], [(height, width)])[0]


def _points(items: Sequence[Sequence[Polygon]]) -> tuple[NDArray[np.float64], Ints]:
    """The points (P, 2) of all polygons one after another, and how many each has."""
    polygons = [polygon for item in items for polygon in item]
    try:
        lengths = np.array([len(polygon) for polygon in polygons], np.int64)
        values = np.array(list(chain.from_iterable(polygons)))
    except (TypeError, ValueError):
        values = np.array("")
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iuf"):
        return _points_one_by_one(items)
    values = values.astype(np.float64)
    if (lengths < 6).any() or (lengths % 2).any() or not (np.abs(values) < _REACH).all():
        return _points_one_by_one(items)
    return values.reshape(-1, 2), lengths // 2


def _points_one_by_one(items: Sequence[Sequence[Polygon]]) -> tuple[NDArray[np.float64], Ints]:
    """The same, slower; a polygon that is malformed is a `GraphError` that says how."""
    found = [_checked(polygon, index) for index, item in enumerate(items) for polygon in item]
    return np.concatenate([*found, np.zeros((0, 2))]), np.array([len(points) for points in found], np.int64)


def _checked(polygon: Polygon, index: int) -> NDArray[np.float64]:
    try:
        given = np.asarray(polygon)
    except (TypeError, ValueError):
        given = np.asarray("")
    if given.dtype.kind not in "iuf":  # numpy would read texts as numbers
        raise GraphError(f"mask {index}: a polygon must be a list of numbers x0, y0, x1, y1, ...")
    values = given.astype(np.float64)
    if values.ndim != 1 or len(values) < 6 or len(values) % 2:
        raise GraphError(
            f"mask {index}: a polygon needs at least three points x0, y0, x1, y1, ..., got {values.size} numbers"
        )
    if not (np.abs(values) < _REACH).all():
        raise GraphError(f"mask {index}: a polygon has a coordinate that is not finite or beyond {_REACH:.0e} pixels")
    return values.reshape(-1, 2)


def _edges(points: NDArray[np.float64], lengths: Ints) -> _Edges:
    # Rounding towards zero after adding a half, as a C cast does, also below zero.
    grid = np.trunc(_GRID * points + 0.5).astype(np.int64)
    begin = offsets(lengths)
    following = np.arange(1, len(points) + 1)
    following[begin[1:] - 1] = begin[:-1]
    polygon = np.repeat(np.arange(len(lengths)), lengths)
    return _Edges(polygon=polygon, x0=grid[:, 0], y0=grid[:, 1], x1=grid[following, 0], y1=grid[following, 1])


def _fill(edges: _Edges, frame: Ints) -> Columns:
    """The pieces of columns inside each polygon by itself, in its frame (N, 2) height, width; `item` is the polygon."""
    across = np.abs(edges.x1 - edges.x0)
    down = np.abs(edges.y1 - edges.y0)
    flat = (across >= down) & (across > 0)
    parts = [_flat_passages(edges.take(np.flatnonzero(flat)), frame)]
    parts.append(_steep_passages(edges.take(np.flatnonzero(down > across)), frame))
    polygon, column, row = (np.concatenate(part) for part in zip(*parts, strict=True))
    polygon, column, row = _in_order(polygon, column, row, frame)
    # A closed boundary passes every column an even number of times, so that the flips of a column pair up.
    filled = np.flatnonzero(row[0::2] < row[1::2])
    first = 2 * filled
    return Columns(polygon[first], column[first], row[first], row[first + 1])


def _in_order(item: Ints, column: Ints, row: Ints, frame: Ints) -> tuple[Ints, Ints, Ints]:
    """Places sorted by item, column and row, which goes from 0 to the height of the item's frame, that included."""
    row_bits = int(frame[:, 0].max(initial=0)).bit_length()
    column_bits = int(frame[:, 1].max(initial=0)).bit_length()
    if len(frame).bit_length() + column_bits + row_bits > _KEY_BITS:
        order = np.lexsort((row, column, item))
        return item[order], column[order], row[order]
    key = (((item << column_bits) | column) << row_bits) | row
    key.sort()
    rest = key >> row_bits
    return rest >> column_bits, rest & ((1 << column_bits) - 1), key & ((1 << row_bits) - 1)


def _columns_passed(low: Ints, high: Ints, widths: Ints) -> tuple[Ints, Ints]:
    """(edge, column): column c is passed by a step of the fine grid from 5c + 2 to 5c + 3."""
    first = np.maximum(-((2 - low) // _GRID), 0)
    final = np.minimum((high - 3) // _GRID, widths - 1)
    number = np.maximum(final - first + 1, 0)
    edge = np.repeat(np.arange(len(number)), number)
    return edge, first[edge] + np.arange(len(edge)) - np.repeat(offsets(number)[:-1], number)


def _passages(edges: _Edges, edge: Ints, column: Ints, y: NDArray[np.float64], frame: Ints) -> tuple[Ints, Ints, Ints]:
    """(polygon, column, row) of the flip for the upper grid row `y` of each passage."""
    polygon = edges.polygon[edge]
    row = np.ceil(np.clip((y + 0.5) / _GRID - 0.5, 0, frame[polygon, 0])).astype(np.int64)
    return polygon, column, row


def _flat_passages(edges: _Edges, frame: Ints) -> tuple[Ints, Ints, Ints]:
    """Edges at least as wide as high: walked column by column of the grid, from left to right."""
    swap = edges.x0 > edges.x1
    x0, y0 = np.where(swap, edges.x1, edges.x0), np.where(swap, edges.y1, edges.y0)
    x1, y1 = np.where(swap, edges.x0, edges.x1), np.where(swap, edges.y0, edges.y1)
    edge, column = _columns_passed(x0, x1, frame[edges.polygon, 1])
    slope = ((y1 - y0) / (x1 - x0))[edge]
    step = _GRID * column + 2 - x0[edge]
    here = np.trunc(y0[edge] + slope * step + 0.5)
    after = np.trunc(y0[edge] + slope * (step + 1) + 0.5)
    return _passages(edges, edge, column, np.minimum(here, after), frame)


def _steep_passages(edges: _Edges, frame: Ints) -> tuple[Ints, Ints, Ints]:
    """Edges higher than wide: walked row by row of the grid, from top to bottom; find the row where x steps over."""
    swap = edges.y0 > edges.y1
    x0, y0 = np.where(swap, edges.x1, edges.x0), np.where(swap, edges.y1, edges.y0)
    x1, y1 = np.where(swap, edges.x0, edges.x1), np.where(swap, edges.y0, edges.y1)
    edge, column = _columns_passed(np.minimum(x0, x1), np.maximum(x0, x1), frame[edges.polygon, 1])
    start, slope = x0[edge], ((x1 - x0) / (y1 - y0))[edge]
    lower = _GRID * column + 2
    rising = slope > 0

    def passed(step: Ints) -> NDArray[np.bool_]:
        x = np.trunc(start + slope * step + 0.5)
        result: NDArray[np.bool_] = np.where(rising, x > lower, x <= lower)
        return result

    # Solve for the last step before the passage, then mend what rounding may have moved by one.
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.floor((lower + 0.5 - start) / slope).astype(np.int64)
    step = np.clip(step, 0, (y1 - y0)[edge] - 1)
    step = np.where(passed(step), step - 1, step)
    step = np.where(passed(step + 1), step, step + 1)
    return _passages(edges, edge, column, (y0[edge] + step).astype(np.float64), frame)


def _unite(pieces: Columns, owner: Ints, counts: Ints) -> Columns:
    """Pieces of polygons to pieces of masks: what any of the `counts[m]` polygons of mask m covers."""
    item = owner[pieces.item]
    several = counts[item] > 1
    own = Columns(item, pieces.x, pieces.top, pieces.bottom)
    if not several.any():
        return own
    alone, shared = own.take(np.flatnonzero(~several)), _overlaid(own.take(np.flatnonzero(several)))
    both = Columns(*(np.concatenate(pair) for pair in zip(attrs.astuple(alone), attrs.astuple(shared), strict=True)))
    return both.take(np.argsort(both.item, kind="stable"))


def _overlaid(pieces: Columns) -> Columns:
    """What any of the pieces of a mask covers, in order."""
    item, column = np.tile(pieces.item, 2), np.tile(pieces.x, 2)
    row = np.concatenate([pieces.top, pieces.bottom])
    change = np.repeat(np.array([1, -1]), len(pieces.item))
    order = np.lexsort((-change, row, column, item))
    item, column, row = item[order], column[order], row[order]
    depth = np.cumsum(change[order])
    before = np.concatenate([np.zeros(1, np.int64), depth[:-1]])
    opens = np.flatnonzero((before == 0) & (depth > 0))
    return Columns(item[opens], column[opens], row[opens], row[(before > 0) & (depth == 0)])
