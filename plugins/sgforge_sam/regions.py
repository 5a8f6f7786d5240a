"""Masks that a model found, as regions of a graph: boxes, scores, and which is a part of which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.edits import Edit, Value
from sgforge.graph import Mask, Region
from sgforge.masks import PackedMasks, selection, to_crop
from sgforge_sam.config import Disjoint

__all__ = ["NO_PIXELS", "Found", "added", "measured", "parents_of", "with_parents"]

NO_PIXELS: Final = "empty-mask"
"""Reason under which masks without pixels are counted and left out."""

_FULL_PIXELS: Final = 4_000_000


@attrs.frozen
class Found:
    """A mask that a model found, its score, its level of detail, where it comes from, and its name, if it has one.

    `stability`, `presence`: as the columns of the same names, of models that tell them.
    """

    mask: Mask
    score: float
    level: int | None
    source: str
    label: str | None = None
    stability: float | None = None
    presence: float | None = None


def added(found: Sequence[Found], first: int, disjoint: Disjoint = "no") -> Edit:
    """The edit that adds these masks as regions, the first of them at index `first`.

    `disjoint`: "small" or "large" masks keep the pixels that several share; then none is a part of another. A score may
    be a predicted IoU outside [0, 1]: it is cut to it. Masks without pixels are left out and counted.
    """
    if disjoint != "no" and found:
        apart = selection.disjoint(PackedMasks.from_masks([one.mask for one in found]), disjoint).masks()
        found = [attrs.evolve(one, mask=mask) for one, mask in zip(found, apart, strict=True)]
    seen = [one for one in found if one.mask.box is not None]
    regions = with_parents(list(map(_region, seen)), first)
    told = (("sam.stability", "stability"), ("sam.presence", "presence"))
    values = [
        Value("region", first + place, column, getattr(one, field))
        for column, field in told
        for place, one in enumerate(seen)
        if getattr(one, field) is not None
    ]
    empty = len(found) - len(seen)
    return Edit(regions=regions, values=values, faults={NO_PIXELS: empty} if empty else {})


def _region(found: Found) -> Region:
    return Region(
        label=found.label,
        box=found.mask.box,
        mask=found.mask,
        score=min(max(found.score, 0.0), 1.0),
        level=found.level,
        source=found.source,
    )


def with_parents(regions: Sequence[Region], first: int) -> list[Region]:
    """The regions with the smallest other one that holds each as parent; `first` is the index of the first of them."""
    masks = [region.mask for region in regions if region.mask is not None]
    assert len(masks) == len(regions)
    return [
        region if parent < 0 else attrs.evolve(region, parent=first + parent)
        for region, parent in zip(regions, parents_of(masks).tolist(), strict=True)
    ]


def parents_of(masks: Sequence[Mask]) -> NDArray[np.int64]:
    """Parents (N,) as `selection.parents` has them, measured on `measured` masks."""
    return selection.parents(measured(masks))


def measured(masks: Sequence[Mask]) -> PackedMasks:
    """Masks of one frame, packed to be compared; boxes and areas are those of the packed frame.

    Of frames of more than 4 megapixels every k-th row and column is taken, so that hundreds of masks fit in memory.
    """
    if not masks:
        return PackedMasks.from_arrays(np.zeros((0, 1, 1), np.bool_))
    step = int(np.ceil(np.sqrt(masks[0].height * masks[0].width / _FULL_PIXELS)))
    return PackedMasks.from_masks(masks) if step == 1 else PackedMasks.from_arrays(_thinned(masks, step))


def _thinned(masks: Sequence[Mask], step: int) -> NDArray[np.bool_]:
    thin = np.zeros((len(masks), -(-masks[0].height // step), -(-masks[0].width // step)), np.bool_)
    for array, mask in zip(thin, masks, strict=True):
        part = to_crop(mask)[-mask.y % step :: step, -mask.x % step :: step]
        y, x = -(-mask.y // step), -(-mask.x // step)
        array[y : y + part.shape[0], x : x + part.shape[1]] = part
    return thin
