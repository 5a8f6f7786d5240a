"""Overlap of boxes row by row (not all with all), in the pixel conventions of the public evaluators."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgforge_eval.conventions import PixelRule

__all__ = ["box_iou", "boxes_match", "union_boxes"]

Boxes = NDArray[np.floating]


def _areas(first: Boxes, second: Boxes, pixels: PixelRule) -> tuple[Boxes, Boxes]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    inner = 0.0 if pixels == "plain" else 1.0
    outer = 1.0 if pixels == "plus_one" else 0.0
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + inner
    intersection = np.maximum(sides, 0.0).prod(axis=1)
    union = (a[:, 2:] - a[:, :2] + outer).prod(axis=1) + (b[:, 2:] - b[:, :2] + outer).prod(axis=1) - intersection
    return intersection, union


def box_iou(first: Boxes, second: Boxes, pixels: PixelRule = "plain") -> NDArray[np.float64]:
    """IoU of box i with box i, both (n, 4) xyxy; 0 where the union is not positive or a box is NaN."""
    intersection, union = _areas(first, second, pixels)
    valid = union > 0
    return np.divide(intersection, union, out=np.zeros_like(union), where=valid)


def boxes_match(first: Boxes, second: Boxes, pixels: PixelRule = "plain", *, strict: bool = False) -> NDArray[np.bool_]:
    """Whether the IoU of box i with box i is at least 0.5 (`strict`: above 0.5); NaN boxes never match.

    Compared without a division. A union of 0 with an intersection (possible in `mixed` only) is an infinite IoU.
    """
    intersection, union = _areas(first, second, pixels)
    half = union * 0.5
    reached = intersection > half if strict else intersection >= half
    return (union > 0) & reached | (union == 0) & (intersection > 0)


def union_boxes(first: Boxes, second: Boxes) -> Boxes:
    """The smallest box around box i and box i, for phrase detection."""
    return np.concatenate([np.minimum(first[:, :2], second[:, :2]), np.maximum(first[:, 2:], second[:, 2:])], axis=1)
