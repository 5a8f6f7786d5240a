"""Boxes as (N, 4) float arrays: forms, areas, overlaps in named pixel conventions, clipping that says what it did."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgforge.errors import GraphError

__all__ = [
    "CONVENTIONS",
    "Clipped",
    "Convention",
    "area",
    "as_boxes",
    "clip",
    "containment",
    "cxcywh_to_xyxy",
    "intersection",
    "iou",
    "iou_rows",
    "salience",
    "union_boxes",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]

Boxes: TypeAlias = NDArray[np.floating[Any]]

Convention = Literal["continuous", "legacy", "maelic"]
"""How many pixels a box spans.

`continuous`: width = x1 - x0. `legacy`: x1 is the index of the last pixel, width = x1 - x0 + 1 everywhere
(Scene-Graph-Benchmark, PySGG). `maelic`: + 1 in the intersection only, not in the areas, so that an IoU can pass 1 or,
for boxes under one pixel, be negative; kept only to reproduce figures made with it.
"""
CONVENTIONS: Final[tuple[Convention, ...]] = ("continuous", "legacy", "maelic")
_PLUS_IN_INTERSECTION: Final = {"continuous": 0, "legacy": 1, "maelic": 1}
_PLUS_IN_AREA: Final = {"continuous": 0, "legacy": 1, "maelic": 0}


def as_boxes(values: ArrayLike) -> Boxes:
    """`values` as an (N, 4) float array: float32 and float64 stay, integers become float64; [] becomes (0, 4)."""
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.size == 0:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise GraphError(f"boxes must have shape (N, 4), got {array.shape}")
    return array


def xyxy_to_xywh(boxes: ArrayLike) -> Boxes:
    """(x0, y0, x1, y1) to (x0, y0, width, height)."""
    boxes = as_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def xywh_to_xyxy(boxes: ArrayLike) -> Boxes:
    """(x0, y0, width, height) to (x0, y0, x1, y1)."""
    boxes = as_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_cxcywh(boxes: ArrayLike) -> Boxes:
    """(x0, y0, x1, y1) to (centre x, centre y, width, height)."""
    boxes = as_boxes(boxes)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def cxcywh_to_xyxy(boxes: ArrayLike) -> Boxes:
    """(centre x, centre y, width, height) to (x0, y0, x1, y1)."""
    boxes = as_boxes(boxes)
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _check_convention(convention: str) -> None:
    if convention not in CONVENTIONS:
        raise GraphError(f"pixel convention {convention!r} must be one of {', '.join(CONVENTIONS)}")


def area(boxes: ArrayLike, convention: Convention = "continuous") -> Boxes:
    """Areas (N,) in square pixels."""
    _check_convention(convention)
    boxes = as_boxes(boxes)
    sides = boxes[:, 2:] - boxes[:, :2] + boxes.dtype.type(_PLUS_IN_AREA[convention])
    product: Boxes = sides[:, 0] * sides[:, 1]
    return product


def _overlap(first: Boxes, second: Boxes, convention: str) -> Boxes:
    """Shared area of boxes whose leading shapes broadcast."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    sides = np.maximum(high - low + high.dtype.type(_PLUS_IN_INTERSECTION[convention]), 0)
    product: Boxes = sides[..., 0] * sides[..., 1]
    return product


def _ratio(part: Boxes, whole: Boxes) -> Boxes:
    """part / whole, 0 where nothing overlaps (also where the whole is 0)."""
    return np.divide(part, whole, out=np.zeros_like(part), where=(part != 0) & (whole != 0))


def intersection(first: ArrayLike, second: ArrayLike, convention: Convention = "continuous") -> Boxes:
    """Pairwise shared areas (N, M) in square pixels."""
    _check_convention(convention)
    return _overlap(as_boxes(first)[:, None], as_boxes(second)[None], convention)


def iou(first: ArrayLike, second: ArrayLike, convention: Convention = "continuous") -> Boxes:
    """Pairwise intersection over union (N, M); 0 for two boxes without area, which therefore never match.

    float32 boxes are reckoned in float32, as the reference evaluators do.
    """
    shared = intersection(first, second, convention)
    return _ratio(shared, area(first, convention)[:, None] + area(second, convention)[None] - shared)


def iou_rows(first: ArrayLike, second: ArrayLike, convention: Convention = "continuous") -> Boxes:
    """Intersection over union (N,) of row i of one with row i of the other."""
    _check_convention(convention)
    one, two = as_boxes(first), as_boxes(second)
    if one.shape != two.shape:
        raise GraphError(f"row-wise IoU needs as many boxes on both sides, got {len(one)} and {len(two)}")
    shared = _overlap(one, two, convention)
    return _ratio(shared, area(one, convention) + area(two, convention) - shared)


def containment(inner: ArrayLike, outer: ArrayLike) -> Boxes:
    """Share (N, M) of each inner box's area that lies in each outer box, in [0, 1]; 0 for one without area."""
    inner = as_boxes(inner)
    return _ratio(intersection(inner, outer), np.broadcast_to(area(inner)[:, None], (len(inner), len(as_boxes(outer)))))


def union_boxes(first: ArrayLike, second: ArrayLike) -> Boxes:
    """The smallest box (N, 4) around row i of one and row i of the other."""
    one, two = as_boxes(first), as_boxes(second)
    if one.shape != two.shape:
        raise GraphError(f"union boxes need as many boxes on both sides, got {len(one)} and {len(two)}")
    return np.concatenate([np.minimum(one[:, :2], two[:, :2]), np.maximum(one[:, 2:], two[:, 2:])], axis=1)


def salience(boxes: ArrayLike, scores: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """How much each box (N, 4) stands out (N,), in [0, 1]: score * (size + centrality) / 2 * (1 - share).

    Share is the box's part of the frame from the corner `low` (x, y) to `high` (a background does not stand out), size
    its square root. Centrality is 1 in the middle, 0 in a corner.
    """
    boxes, low, high = as_boxes(boxes), np.asarray(low, np.float64), np.asarray(high, np.float64)
    half = (high - low) / 2
    inner = np.concatenate([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)], axis=1)
    share = np.prod((inner[:, 2:] - inner[:, :2]) / (high - low), axis=1)
    offset = ((inner[:, :2] + inner[:, 2:]) / 2 - (low + high) / 2) / half
    centrality = 1 - np.sqrt((offset * offset).sum(axis=1) / 2)
    worth: NDArray[np.float64] = np.asarray(scores, np.float64) * (np.sqrt(share) + centrality) / 2 * (1 - share)
    return worth


@attrs.frozen(eq=False)
class Clipped:
    """Boxes cut to a frame: `boxes` (N, 4), `changed` (N,) where a side moved, `empty` (N,) where nothing is left."""

    boxes: Boxes
    changed: NDArray[np.bool_]
    empty: NDArray[np.bool_]


def clip(boxes: ArrayLike, width: float, height: float) -> Clipped:
    """Cut boxes to a frame of `width` x `height` pixels; what was cut or left without area is reported, not hidden."""
    boxes = as_boxes(boxes)
    cut = np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))
    return Clipped(
        boxes=cut,
        changed=np.any(cut != boxes, axis=1),
        empty=(cut[:, 0] >= cut[:, 2]) | (cut[:, 1] >= cut[:, 3]),
    )
