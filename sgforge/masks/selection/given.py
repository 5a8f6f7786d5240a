"""Masks as they are given to a selection: packed, or arrays to be packed."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgforge.errors import GraphError
from sgforge.masks.packed import PackedMasks

__all__ = ["Floats", "Indices", "Masks", "as_packed", "as_scores"]

Masks: TypeAlias = PackedMasks | ArrayLike
Indices: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


def as_packed(masks: Masks) -> PackedMasks:
    """Packed masks as they are; (N, H, W) booleans packed."""
    return masks if isinstance(masks, PackedMasks) else PackedMasks.from_arrays(masks)


def as_scores(scores: ArrayLike, count: int) -> Floats:
    """Scores (N,) as float64; another number of them is a `GraphError`."""
    array = np.asarray(scores, np.float64)
    if array.shape != (count,):
        raise GraphError(f"{count} masks or boxes need as many scores, got an array of shape {array.shape}")
    return array
