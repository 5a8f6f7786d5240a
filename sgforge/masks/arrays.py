"""Masks from and to boolean arrays, one or many at once, without a loop over masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgforge.errors import GraphError
from sgforge.graph import Mask
from sgforge.masks.bits import pack, spans_of, unpack, words_of
from sgforge.masks.runs import split_columns
from sgforge.masks.table import MaskTable, crop_spans, frame_spans, from_spans

__all__ = [
    "areas",
    "as_arrays",
    "boxes",
    "common_frame",
    "from_array",
    "from_arrays",
    "to_array",
    "to_arrays",
    "to_crop",
]


def as_arrays(arrays: ArrayLike) -> NDArray[np.bool_]:
    """`arrays` as (N, H, W) booleans; numbers other than 0 and 1 are a `GraphError`, not silently true."""
    array = np.asarray(arrays)
    if array.ndim != 3:
        raise GraphError(f"masks must have shape (N, H, W), got {array.shape}")
    if array.dtype != np.bool_:
        if array.size and not np.isin(array, (0, 1)).all():
            raise GraphError(f"masks must hold booleans, or 0 and 1; got other values of type {array.dtype}")
        array = array.astype(np.bool_)
    return array


def from_arrays(arrays: ArrayLike) -> list[Mask]:
    """Masks of (N, H, W) booleans."""
    array = as_arrays(arrays)
    size, height, width = array.shape
    frame = np.broadcast_to(np.array([height, width], np.int64), (size, 2))
    return from_spans(spans_of(pack(array)), frame).masks()


def from_array(array: ArrayLike) -> Mask:
    """The mask of one (H, W) boolean array."""
    return from_arrays(np.asarray(array)[None])[0]


def common_frame(masks: Sequence[Mask]) -> tuple[int, int]:
    """(height, width) of masks that share a frame; others are a `GraphError` naming the first that differs."""
    if not masks:
        return 0, 0
    height, width = masks[0].height, masks[0].width
    for index, mask in enumerate(masks):
        if (mask.height, mask.width) != (height, width):
            raise GraphError(f"mask {index} is {mask.width}x{mask.height}, mask 0 is {width}x{height}")
    return height, width


def to_arrays(masks: Sequence[Mask]) -> NDArray[np.bool_]:
    """(N, H, W) booleans of masks of one frame; no masks give (0, 0, 0)."""
    height, width = common_frame(masks)
    columns = split_columns(frame_spans(MaskTable.of(masks)), np.full(len(masks), height, np.int64))
    return unpack(words_of(columns, len(masks), height, width), width)


def to_array(mask: Mask) -> NDArray[np.bool_]:
    """(H, W) booleans of one mask in its frame."""
    array = np.zeros((mask.height, mask.width), np.bool_)
    array[mask.y : mask.y + mask.crop_height, mask.x : mask.x + mask.crop_width] = to_crop(mask)
    return array


def to_crop(mask: Mask) -> NDArray[np.bool_]:
    """(crop_height, crop_width) booleans: the pixels of the tight crop alone."""
    return to_crops([mask])[0]


def to_crops(masks: Sequence[Mask]) -> list[NDArray[np.bool_]]:
    """(crop_height, crop_width) booleans of each mask: the pixels of its tight crop alone."""
    spans = crop_spans(MaskTable.of(masks))
    ends = np.searchsorted(spans.item, np.arange(len(masks) + 1))
    crops = []
    for number, mask in enumerate(masks):
        start, stop = spans.start[ends[number] : ends[number + 1]], spans.stop[ends[number] : ends[number + 1]]
        # Runs of false and true in turn: written as runs, not pixel by pixel.
        borders = np.zeros(2 * len(start) + 2, np.int64)
        borders[1:-1:2], borders[2:-1:2], borders[-1] = start, stop, mask.crop_width * mask.crop_height
        flat = np.repeat(np.arange(len(borders) - 1) % 2 == 1, np.diff(borders))
        crops.append(flat.reshape(mask.crop_width, mask.crop_height).T)
    return crops


def areas(masks: Sequence[Mask]) -> NDArray[np.int64]:
    """True pixels (N,) of each mask, without decoding."""
    spans = crop_spans(MaskTable.of(masks))
    return np.bincount(spans.item, spans.stop - spans.start, minlength=len(masks)).astype(np.int64)


def boxes(masks: Sequence[Mask]) -> NDArray[np.float32]:
    """Tight xyxy boxes (N, 4), max-exclusive pixels; zeros for an empty mask."""
    crop = MaskTable.of(masks).crop
    return np.concatenate([crop[:, :2], crop[:, :2] + crop[:, 2:]], axis=1).astype(np.float32)
