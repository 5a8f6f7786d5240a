"""PNGs whose colours are ids of segments, as COCO panoptic has them: R + 256 G + 65536 B, 0 for no segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sgforge import masks
from sgforge.graph import Mask

__all__ = ["VOID", "segment_colours", "segment_ids", "segment_masks"]

VOID: Final = 0
"""The id of pixels that belong to no segment."""
_CHUNK: Final = 64_000_000


def segment_ids(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """(H, W) int32 ids of an (H, W, 3) uint8 picture."""
    wide = rgb.astype(np.int32)
    ids: npt.NDArray[np.int32] = wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
    return ids


def segment_colours(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8: the picture of (H, W) ids below 2^24."""
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)


def segment_masks(ids: npt.NDArray[np.int32], numbers: Sequence[int]) -> Iterator[Mask]:
    """The mask of each segment; some at a time, so that large images with many segments stay small in memory."""
    step = max(1, _CHUNK // max(ids.size, 1))
    for start in range(0, len(numbers), step):
        chosen = np.array(numbers[start : start + step], np.int64)
        yield from masks.from_arrays(ids[None] == chosen[:, None, None])
