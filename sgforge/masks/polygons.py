"""Polygons to masks, pixel for pixel as pycocotools rasterises them (frPyObjects, then merge).

COCO's rule: vertices are rounded to a grid of five points a pixel; the boundary is walked along that grid; where it
passes the centre line of a pixel column, the column's pixels below that point are flipped. Only those passages are
computed here, for all edges of all polygons at once, so that the cost depends on the columns crossed and not on how far
a polygon reaches outside its frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.errors import GraphError
from sgforge.graph import Mask
from sgforge.masks.runs import Ints, Spans, merge, offsets
from sgforge.masks.table import from_spans

__all__ = ["from_polygons", "from_polygons_batch"]

Polygon = Sequence[float]

_GRID: Final = 5
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
        return _Edges(self.polygon[rows], self.x0[rows], self.y0[rows], self.x1[rows], self.y1[rows])


def from_polygons_batch(items: Sequence[Sequence[Polygon]], sizes: Sequence[tuple[int, int]]) -> list[Mask]:
    """One mask per item, the union of the item's polygons (x0, y0, x1, y1, ... in pixels); `sizes` are (height, width).

    A polygon of fewer than three points, with an odd number of values or values that are not finite is a `GraphError`
    naming the mask; parts outside the frame are cut off.
    """
    if len(items) != len(sizes):
        raise GraphError(f"{len(items)} masks need as many sizes, got {len(sizes)}")
    frame = np.array(sizes, np.int64).reshape(-1, 2)
    polygons = [_points(polygon, index) for index, item in enumerate(items) for polygon in item]
    owner = np.repeat(np.arange(len(items)), [len(item) for item in items])
    spans = _fill(_edges(polygons), len(polygons), frame[owner])
    return from_spans(_unite(spans, owner, len(items)), frame).masks()


def from_polygons(polygons: Sequence[Polygon], height: int, width: int) -> Mask:
    """The union of polygons (x0, y0, x1, y1, ... in pixels) as one mask."""
    return from_polygons_batch([polygons], [(height, width)])[0]


def _points(polygon: Polygon, index: int) -> NDArray[np.float64]:
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


def _edges(polygons: Sequence[NDArray[np.float64]]) -> _Edges:
    lengths = np.array([len(points) for points in polygons], np.int64)
    points = np.concatenate([*polygons, np.zeros((0, 2))])
    # Rounding towards zero after adding a half, as a C cast does, also below zero.
    grid = np.trunc(_GRID * points + 0.5).astype(np.int64)
    begin = offsets(lengths)
    following = np.arange(1, len(points) + 1)
    following[begin[1:] - 1] = begin[:-1]
    polygon = np.repeat(np.arange(len(polygons)), lengths)
    return _Edges(polygon, grid[:, 0], grid[:, 1], grid[following, 0], grid[following, 1])


def _fill(edges: _Edges, size: int, frame: Ints) -> Spans:
    """Spans of each polygon by itself, in its frame (N, 2) height, width."""
    across = np.abs(edges.x1 - edges.x0)
    down = np.abs(edges.y1 - edges.y0)
    flat = (across >= down) & (across > 0)
    parts = [_flat_passages(edges.take(np.flatnonzero(flat)), frame)]
    parts.append(_steep_passages(edges.take(np.flatnonzero(down > across)), frame))
    polygon = np.concatenate([part[0] for part in parts])
    position = np.concatenate([part[1] for part in parts])
    order = np.lexsort((position, polygon))
    polygon, position = polygon[order], position[order]
    total = frame[:, 0] * frame[:, 1]
    # A closed boundary passes every column an even number of times, so that the flips pair up.
    starts, stops = position[0::2], position[1::2]
    return merge(Spans(size, polygon[0::2], starts, np.minimum(stops, total[polygon[0::2]])))


def _columns_passed(low: Ints, high: Ints, widths: Ints) -> tuple[Ints, Ints]:
    """(edge, column): column c is passed by a step of the fine grid from 5c + 2 to 5c + 3."""
    first = np.maximum(-((2 - low) // _GRID), 0)
    final = np.minimum((high - 3) // _GRID, widths - 1)
    number = np.maximum(final - first + 1, 0)
    edge = np.repeat(np.arange(len(number)), number)
    return edge, first[edge] + np.arange(len(edge)) - np.repeat(offsets(number)[:-1], number)


def _positions(edges: _Edges, edge: Ints, column: Ints, y: NDArray[np.float64], frame: Ints) -> tuple[Ints, Ints]:
    """(polygon, flat position) of the flip for the upper grid row `y` of each passage."""
    polygon = edges.polygon[edge]
    height = frame[polygon, 0]
    row = np.ceil(np.clip((y + 0.5) / _GRID - 0.5, 0, height)).astype(np.int64)
    return polygon, column * height + row


def _flat_passages(edges: _Edges, frame: Ints) -> tuple[Ints, Ints]:
    """Edges at least as wide as high: walked column by column of the grid, from left to right."""
    swap = edges.x0 > edges.x1
    x0, y0 = np.where(swap, edges.x1, edges.x0), np.where(swap, edges.y1, edges.y0)
    x1, y1 = np.where(swap, edges.x0, edges.x1), np.where(swap, edges.y0, edges.y1)
    edge, column = _columns_passed(x0, x1, frame[edges.polygon, 1])
    slope = ((y1 - y0) / (x1 - x0))[edge]
    step = _GRID * column + 2 - x0[edge]
    here = np.trunc(y0[edge] + slope * step + 0.5)
    after = np.trunc(y0[edge] + slope * (step + 1) + 0.5)
    return _positions(edges, edge, column, np.minimum(here, after), frame)


def _steep_passages(edges: _Edges, frame: Ints) -> tuple[Ints, Ints]:
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
    return _positions(edges, edge, column, (y0[edge] + step).astype(np.float64), frame)


def _unite(spans: Spans, owner: Ints, size: int) -> Spans:
    """Spans of polygons to spans of masks: what any polygon of mask `owner[polygon]` covers."""
    item = np.tile(owner[spans.item], 2)
    position = np.concatenate([spans.start, spans.stop])
    change = np.repeat(np.array([1, -1]), len(spans.item))
    order = np.lexsort((-change, position, item))
    depth = np.cumsum(change[order])
    item, position = item[order], position[order]
    before = np.concatenate([np.zeros(1, np.int64), depth[:-1]]) if len(depth) else depth
    opens, closes = (before == 0) & (depth > 0), (before > 0) & (depth == 0)
    return merge(Spans(size, item[opens], position[opens], position[closes]))
