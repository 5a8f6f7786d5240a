"""Whose regions a prediction lists where it was told the truth's: by place, else by box and label, never guessed.

In predcls and sgcls a prediction is about the truth's regions. Where it lists them in another order, or some of them,
each is looked for by its box (and in predcls its label); what could be several or is none stands for nothing, and both
are counted.
"""

from __future__ import annotations

import attrs
import numpy as np

from sgforge import boxes
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import Objects
from sgforge_eval.intake.dropped import Dropped

__all__ = ["Alignment", "align_regions"]

_NEAR = 0.5
_SAME = 0.95  # from this IoU on a box is the truth's own, rounded
_ORDER = "prediction: image that lists the truth's regions otherwise, matched by box and label"
_FOREIGN = "prediction: image with regions that are none of the truth's, whose relations are left out"
_AMBIGUOUS = "prediction: image with regions that could be several of the truth's, whose relations are left out"
_RENAMED = "prediction: image with labels that are not the truth's, which predcls does not look at"


@attrs.frozen(eq=False)
class Alignment:
    """`rows` (M,): the truth's row that each predicted region stands for, -1 for none."""

    rows: Ints


@attrs.frozen(eq=False)
class _Image:
    """One image: boxes (n, 4) and labels (n,) of both sides; `named`: labels are told, so that they must agree."""

    true_boxes: Floats
    true_labels: Ints
    boxes: Floats
    labels: Ints
    named: bool

    def near(self, row: int) -> Floats:
        """IoU of a predicted region with all true ones; 1 where either has no box, or both are the same."""
        shown = np.broadcast_to(self.boxes[row], self.true_boxes.shape)
        return _overlap(self.true_boxes, shown)

    def alike(self, row: int) -> Flags:
        """Which true regions may have the label of a predicted one."""
        if not self.named or self.labels[row] < 0:
            return np.ones(len(self.true_labels), bool)
        return self.true_labels == self.labels[row]

    def stands_for(self, row: int, reasons: set[str]) -> int:
        """The true region that a predicted one is; -1, with the reason added, where none or several could be."""
        overlap, alike = self.near(row), self.alike(row)
        placed: Flags = overlap >= _NEAR
        known = placed & alike
        # What has neither box nor label to tell it by is the region of like place.
        if row < len(known) and known[row]:
            return row
        found = np.flatnonzero(known)
        same = np.flatnonzero(known & (overlap >= _SAME))
        if len(found) == 1 or len(same) == 1:
            return int(found[0] if len(found) == 1 else same[0])
        is_renamed = not len(found) and row < len(placed) and placed[row] and not np.isnan(self.boxes[row]).any()
        reasons.add(_RENAMED if is_renamed else _AMBIGUOUS if len(found) else _FOREIGN)
        return row if is_renamed else -1


def align_regions(
    truth: Objects, predicted: Objects, skipped: Flags, dropped: Dropped, ids: list[str], *, named: bool
) -> Alignment:
    """What each predicted region stands for; `skipped` (N,) images are not looked at.

    `named`: labels were told (predcls), else boxes alone were. Images that list the truth's regions one by one are
    settled at once.
    """
    counts, given = np.diff(truth.offsets), np.diff(predicted.offsets)
    image = np.repeat(np.arange(len(given)), given)
    local = np.arange(len(image)) - predicted.offsets[image]
    inside = local < counts[image]
    rows = np.where(inside, truth.offsets[image] + local, 0)
    own = inside & (len(truth.labels) > 0)
    if own.any():
        own &= _overlap(truth.boxes[rows], predicted.boxes) >= _NEAR
        if named:
            own &= (predicted.labels < 0) | (predicted.labels == truth.labels[rows])
    found = np.where(own, rows, -1)
    for odd in np.unique(image[~own]).tolist():
        if not skipped[odd]:
            _settle(odd, truth, predicted, found, dropped, ids[odd], named=named)
    return Alignment(found)


def _settle(
    odd: int, truth: Objects, predicted: Objects, found: Ints, dropped: Dropped, image_id: str, *, named: bool
) -> None:
    """Look one by one for the regions of an image that are not all in their places; `found` is filled."""
    true = slice(truth.offsets[odd], truth.offsets[odd + 1])
    own = slice(predicted.offsets[odd], predicted.offsets[odd + 1])
    scene = _Image(
        true_boxes=truth.boxes[true],
        true_labels=truth.labels[true],
        boxes=predicted.boxes[own],
        labels=predicted.labels[own],
        named=named,
    )
    reasons: set[str] = set()
    places = [scene.stands_for(row, reasons) for row in range(len(scene.labels))]
    found[own] = [true.start + place if place >= 0 else -1 for place in places]
    for reason in reasons:
        dropped.add(reason, 1, image_id)
    if any(place not in (row, -1) for row, place in enumerate(places)):
        dropped.add(_ORDER, 1, image_id)


def _overlap(first: Floats, second: Floats) -> Floats:
    """(n,) IoU of row i with row i; 1 for equal boxes without area, and where a box is not given."""
    overlap: Floats = boxes.iou_rows(first, second).astype(np.float64)
    told: Flags = ~(np.isnan(first).any(axis=1) | np.isnan(second).any(axis=1))
    same: Flags = (first == second).all(axis=1)
    return np.where(told & ~same, overlap, 1.0)
