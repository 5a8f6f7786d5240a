"""Annotated regions against generated masks: which are confirmed, and which proposals nobody annotated."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import ArrayLike

from sgforge import boxes
from sgforge.errors import GraphError
from sgforge.masks.packed import PackedMasks
from sgforge.masks.selection.given import Floats, Indices, Masks, as_packed

__all__ = ["Confirmed", "Uncovered", "confirm", "uncovered"]


@attrs.frozen(eq=False)
class Confirmed:
    """Indices of the annotated regions that stand, `kept`, and the best IoU of each (N,), `degree`."""

    kept: Indices
    degree: Floats


@attrs.frozen(eq=False)
class Uncovered:
    """Proposals that no annotation covers.

    `proposals`: their indices. `among` (P, 2): pairs of them, lower index first, that may miss a relation.
    `with_annotations` (Q, 2): pairs of such a proposal and an annotation that may.
    """

    proposals: Indices
    among: Indices
    with_annotations: Indices


def confirm(annotated: Masks, generated: Masks, iou: float = 0.5) -> Confirmed:
    """The annotated regions whose IoU with any generated mask exceeds `iou`; without generated masks none does.

    The paper's keep rule (SVG section 2.1, which does not say of what the IoU is): masks are compared as masks;
    `annotated` may also be (N, 4) xyxy boxes, compared with the generated masks' tight boxes, or with boxes.
    """
    degree = _overlaps(annotated, generated).max(axis=1, initial=0.0)
    return Confirmed(np.flatnonzero(degree > iou), degree)


def _overlaps(annotated: Masks, generated: Masks) -> Floats:
    """IoU (N, M) of masks with masks, or of boxes with boxes."""
    if _are_masks(annotated):
        return as_packed(annotated).iou(as_packed(generated))
    found = as_packed(generated).boxes if _are_masks(generated) else np.asarray(generated)
    return boxes.iou(np.asarray(annotated, np.float64), found.astype(np.float64)).astype(np.float64, copy=False)


def _are_masks(given: Masks) -> bool:
    if isinstance(given, PackedMasks):
        return True
    shape = np.shape(given)
    if len(shape) not in (2, 3) and 0 not in shape:
        raise GraphError(f"regions are masks (N, H, W) or boxes (N, 4), got shape {shape}")
    return len(shape) == 3


def uncovered(
    proposals: ArrayLike,
    annotations: ArrayLike,
    covered: float = 0.5,
    near: tuple[float, float] = (0.3, 0.5),
    convention: boxes.Convention = "legacy",
) -> Uncovered:
    """Proposed boxes (N, 4) whose IoU with every annotated box (M, 4) is at most `covered`, and the pairs nearby.

    A pair may miss a relation if near[0] <= IoU < near[1]: an uncovered proposal with another, or with an annotation.
    SVG's region code counts boxes' pixels inclusively, convention `legacy`; so do these defaults.
    """
    proposed, annotated = boxes.as_boxes(proposals), boxes.as_boxes(annotations)
    overlaps = boxes.iou(proposed, annotated, convention)
    free = np.flatnonzero(overlaps.max(axis=1, initial=0.0) <= covered)
    own = np.triu(_between(boxes.iou(proposed[free], proposed[free], convention), near), k=1)
    return Uncovered(free, _pairs(own, free, free), _pairs(_between(overlaps[free], near), free, None))


def _between(overlaps: boxes.Boxes, near: tuple[float, float]) -> np.ndarray:
    return (overlaps >= near[0]) & (overlaps < near[1])


def _pairs(holds: np.ndarray, first: Indices, second: Indices | None) -> Indices:
    rows, columns = np.nonzero(holds)
    return np.stack([first[rows], columns if second is None else second[columns]], axis=1)
