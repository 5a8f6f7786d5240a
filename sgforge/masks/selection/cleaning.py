"""Masks made tidy: holes filled, islands dropped, no pixel in two of them."""

from __future__ import annotations

from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.errors import GraphError
from sgforge.masks.bits import Words, pack, spans_of, words_of
from sgforge.masks.packed import PackedMasks
from sgforge.masks.runs import Columns, offsets, split_columns
from sgforge.masks.selection.given import Indices, Masks, as_packed

__all__ = ["Cleaned", "clean", "disjoint"]


@attrs.frozen(eq=False)
class Cleaned:
    """Masks after a clean-up, and which of them (N,) it changed."""

    masks: PackedMasks
    changed: NDArray[np.bool_]


def clean(masks: Masks, min_area: int) -> Cleaned:
    """Fill holes, then drop islands, of fewer than `min_area` pixels; of a mask of small islands the largest stays.

    Pixels touch at sides and corners, also those of holes, and a gap at the border of the frame is a hole like any
    other (segment-anything, `remove_small_regions`). An empty mask has nothing to keep and stays empty.
    """
    packed = as_packed(masks)
    filled = _words(packed, _small_holes(packed, min_area)) | packed.words
    columns = _columns(filled)
    label, area = _components(columns, packed.height)
    kept = area >= min_area
    largest = _largest(columns.item, label, area, len(packed))
    keeps = np.bincount(columns.item[kept[label]], minlength=len(packed)) > 0
    kept[largest[~keeps & (largest >= 0)]] = True
    words = _words(packed, _some(columns, kept[label]))
    return Cleaned(PackedMasks.from_words(packed.width, words), (words != packed.words).any(axis=(1, 2)))


def disjoint(masks: Masks, on_top: Literal["small", "large"] = "small") -> PackedMasks:
    """The masks with every shared pixel left to one of them: the smaller, or the larger; of equal ones the first."""
    if on_top not in ("small", "large"):
        raise GraphError(f"masks can be made disjoint with the 'small' or the 'large' ones on top, not {on_top!r}")
    packed = as_packed(masks)
    words = packed.words.copy()
    taken = np.zeros(words.shape[1:], np.uint64)
    rank = packed.areas if on_top == "small" else -packed.areas
    for index in np.argsort(rank, kind="stable").tolist():
        words[index] &= ~taken
        taken |= words[index]
    return PackedMasks.from_words(packed.width, words)


def _columns(words: Words) -> Columns:
    spans = spans_of(words)
    return split_columns(spans, np.full(spans.size, words.shape[1], np.int64))


def _words(packed: PackedMasks, columns: Columns) -> Words:
    return words_of(columns, len(packed), packed.height, packed.width)


def _some(columns: Columns, chosen: NDArray[np.bool_]) -> Columns:
    return Columns(columns.item[chosen], columns.x[chosen], columns.top[chosen], columns.bottom[chosen])


def _small_holes(packed: PackedMasks, min_area: int) -> Columns:
    frame = pack(np.ones((1, packed.height, packed.width), np.bool_))
    columns = _columns(frame & ~packed.words)
    label, area = _components(columns, packed.height)
    return _some(columns, (area < min_area)[label])


def _components(columns: Columns, height: int) -> tuple[Indices, Indices]:
    """Which component each piece of a column belongs to, and the pixels of each, by label."""
    first, second = _contacts(columns, height)
    label = np.arange(len(columns.x))
    while True:
        low = np.minimum(label[first], label[second])
        joined = label.copy()
        np.minimum.at(joined, label[first], low)
        np.minimum.at(joined, label[second], low)
        while (joined[joined] != joined).any():
            joined = joined[joined]
        if (joined == label).all():
            area = np.bincount(label, columns.bottom - columns.top, minlength=len(label)).astype(np.int64)
            return label, area
        label = joined


def _contacts(columns: Columns, height: int) -> tuple[Indices, Indices]:
    """Pairs of pieces in neighbouring columns of one mask that touch, if only at a corner."""
    stride = height + 2  # a column's keys never reach into the next one's
    width = int(columns.x.max(initial=0)) + 2
    base = (columns.item * width + columns.x) * stride
    begin = np.searchsorted(base + columns.bottom, base + stride + columns.top, "left")
    end = np.searchsorted(base + columns.top, base + stride + columns.bottom, "right")
    number = np.maximum(end - begin, 0)
    first = np.repeat(np.arange(len(number)), number)
    return first, begin[first] + np.arange(len(first)) - np.repeat(offsets(number)[:-1], number)


def _largest(item: Indices, label: Indices, area: Indices, size: int) -> Indices:
    """The label of the largest component of each mask (the first of equal ones), -1 for an empty mask."""
    order = np.lexsort((label, -area[label], item))
    largest = np.full(size, -1, np.int64)
    ranked = item[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(ranked)), np.bool_), ranked[1:] != ranked[:-1]]))
    largest[ranked[starts]] = label[order[starts]]
    return largest
