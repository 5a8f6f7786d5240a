"""One of many that say the same, and the ones that matter most: suppression, sizes, salience, containment."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sgforge import boxes
from sgforge.errors import GraphError
from sgforge.masks.selection.given import Indices, Masks, as_packed, as_scores

__all__ = ["at_least", "most_salient", "nms", "parents", "without_duplicates"]


def nms(boxes_: ArrayLike, scores: ArrayLike, iou: float = 0.7) -> Indices:
    """Non-maximum suppression of xyxy boxes (N, 4): indices of those that stay, by falling score.

    A box goes if its IoU with one of a higher score that stays exceeds `iou`; of equal scores the first wins. float32
    boxes are reckoned in float32, as torchvision does. SVG merges files of proposals with the area as score.
    """
    given = boxes.as_boxes(boxes_)
    order = np.argsort(-as_scores(scores, len(given)), kind="stable")
    ranked = given[order]
    stays = np.ones(len(order), np.bool_)
    for place in range(len(order)):
        if stays[place]:
            later = place + 1 + np.flatnonzero(stays[place + 1 :])
            stays[later] = boxes.iou(ranked[place : place + 1], ranked[later])[0] <= iou
    return order[stays]


def without_duplicates(masks: Masks, iou: float = 0.7) -> Indices:
    """Indices of the masks whose IoU with no earlier one that stays exceeds `iou`, ascending: the first is kept."""
    packed = as_packed(masks)
    same = packed.iou() > iou
    stays = np.ones(len(packed), np.bool_)
    for index in range(len(packed)):
        if stays[index]:
            stays[index + 1 :] &= ~same[index, index + 1 :]
    return np.flatnonzero(stays)


def at_least(masks: Masks, pixels: int) -> Indices:
    """Indices of the masks of at least `pixels` pixels, ascending."""
    return np.flatnonzero(as_packed(masks).areas >= pixels)


def most_salient(masks: Masks, number: int = 99, scores: ArrayLike | None = None) -> Indices:
    """Indices of the at most `number` most salient masks, ascending; of equal ones the first.

    Salience as `boxes.salience` has it, of the masks' tight boxes in their frame; empty masks come last. 99 is the most
    regions that SVG shows to a model.
    """
    packed = as_packed(masks)
    if number < 0:
        raise GraphError(f"at most {number} masks cannot be kept: it must be 0 or more")
    if len(packed) <= number:
        return np.arange(len(packed))
    worth = np.ones(len(packed)) if scores is None else as_scores(scores, len(packed))
    frame = np.array([packed.width, packed.height], np.float64)
    value = boxes.salience(packed.boxes.astype(np.float64), worth, np.zeros(2), frame)
    value[packed.areas == 0] = -1.0
    return np.sort(np.argsort(-value, kind="stable")[:number])


def parents(masks: Masks, inside: float = 0.9) -> Indices:
    """For each mask the smallest one that it is a part of (N,), -1 where there is none.

    A part lies with more than `inside` of its pixels in the other, which does not lie as much in it; so there is no
    circle, and a near copy is no parent. Of equally large ones the first counts.
    """
    packed = as_packed(masks)
    lies_in = packed.containment() > inside
    lies_in &= ~lies_in.T
    if not len(packed):
        return np.zeros(0, np.int64)
    areas = np.where(lies_in, packed.areas[None], np.iinfo(np.int64).max)
    return np.where(lies_in.any(axis=1), areas.argmin(axis=1), -1)
