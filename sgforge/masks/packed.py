"""PackedMasks: the working form for masks against masks, with pixel counts by AND and popcount on 64-bit words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgforge.errors import GraphError
from sgforge.graph import Mask
from sgforge.masks.arrays import as_arrays, common_frame
from sgforge.masks.bits import Words, pack, spans_of, unpack, words_of
from sgforge.masks.runs import Ints, split_columns
from sgforge.masks.table import MaskTable, frame_spans, from_spans

__all__ = ["PackedMasks"]

_CHUNK_WORDS = 1 << 16  # half a megabyte of words at once: the AND and its popcount stay in cache


@attrs.frozen(eq=False)
class PackedMasks:
    """N masks of one frame, packed: `words` (N, H, ceil(W / 64)) uint64, tight `boxes` (N, 4) xyxy, `areas` (N,).

    Boxes are int64, max-exclusive, zeros for an empty mask; areas are pixel counts.
    """

    width: int
    words: Words = attrs.field(repr=False)
    boxes: Ints
    areas: Ints

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def height(self) -> int:
        """Rows of the frame."""
        return int(self.words.shape[1])

    @classmethod
    def from_arrays(cls, arrays: ArrayLike) -> PackedMasks:
        """Pack (N, H, W) booleans."""
        array = as_arrays(arrays)
        return cls.from_words(array.shape[2], pack(array))

    @classmethod
    def from_words(cls, width: int, words: Words) -> PackedMasks:
        """Masks of frames `width` pixels wide whose words (N, H, ceil(W / 64)) are packed; bits beyond it are 0."""
        return cls(width, words, _tight_boxes(words), _count(words))

    @classmethod
    def from_masks(cls, masks: Sequence[Mask]) -> PackedMasks:
        """Pack masks of one frame."""
        height, width = common_frame(masks)
        table = MaskTable.of(masks)
        columns = split_columns(frame_spans(table), table.frame[:, 0])
        corners = np.concatenate([table.crop[:, :2], table.crop[:, :2] + table.crop[:, 2:]], axis=1)
        areas = np.bincount(columns.item, columns.bottom - columns.top, minlength=len(masks)).astype(np.int64)
        return cls(width, words_of(columns, len(masks), height, width), corners, areas)

    def arrays(self) -> NDArray[np.bool_]:
        """(N, H, W) booleans."""
        return unpack(self.words, self.width)

    def masks(self) -> list[Mask]:
        """The masks as values of a graph, in order."""
        frame = np.broadcast_to(np.array([self.height, self.width], np.int64), (len(self), 2))
        return from_spans(spans_of(self.words), frame).masks()

    def take(self, indices: ArrayLike) -> PackedMasks:
        """Some of the masks, in the order of `indices`."""
        chosen = np.asarray(indices, np.int64)
        return PackedMasks(self.width, self.words[chosen], self.boxes[chosen], self.areas[chosen])

    def intersections(self, other: PackedMasks | None = None) -> Ints:
        """Shared pixels (N, M) with `other`, or of all pairs among these masks (N, N)."""
        if other is None:
            return self._own_intersections()
        if (self.height, self.width) != (other.height, other.width):
            raise GraphError(
                f"masks of frames {self.width}x{self.height} and {other.width}x{other.height} cannot be compared"
            )
        shared = np.zeros((len(self), len(other)), np.int64)
        meets = _meets(self.boxes, other.boxes)
        for index in range(len(self)):
            touching = np.flatnonzero(meets[index])
            shared[index, touching] = _shared(self.words[index], self.boxes[index], other.words, touching)
        return shared

    def _own_intersections(self) -> Ints:
        """Each pair once, in the window of its smaller mask."""
        shared = np.zeros((len(self), len(self)), np.int64)
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        order = np.argsort(sides[:, 0] * sides[:, 1], kind="stable")
        ranked = self.boxes[order]
        later_meets = np.triu(_meets(ranked, ranked), k=1)
        for rank, index in enumerate(order.tolist()):
            later = order[later_meets[rank]]
            row = _shared(self.words[index], self.boxes[index], self.words, later)
            shared[index, later] = row
            shared[later, index] = row
        np.fill_diagonal(shared, self.areas)
        return shared

    def iou(self, other: PackedMasks | None = None) -> NDArray[np.float64]:
        """Intersection over union (N, M), as in `intersections`; 0 for two empty masks."""
        shared = self.intersections(other)
        union = self.areas[:, None] + (self if other is None else other).areas[None] - shared
        return _ratio(shared, union)

    def containment(self, other: PackedMasks | None = None) -> NDArray[np.float64]:
        """Share (N, M) of each of these masks' pixels that lies in each other mask; 0 for an empty mask."""
        shared = self.intersections(other)
        return _ratio(shared, np.broadcast_to(self.areas[:, None], shared.shape))


def _ratio(part: Ints, whole: NDArray[Any]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return ratio


def _meets(first: Ints, second: Ints) -> NDArray[np.bool_]:
    """Which boxes (N, M) share a pixel; an empty mask's box meets none."""
    ax0, ay0, ax1, ay1 = first.T[:, :, None]
    bx0, by0, bx1, by1 = second.T[:, None]
    meets: NDArray[np.bool_] = (ax0 < bx1) & (bx0 < ax1) & (ay0 < by1) & (by0 < ay1)
    return meets


def _shared(mask: Words, box: Ints, words: Words, indices: Ints) -> Ints:
    """Pixels that `mask` shares with each of `words[indices]`, looked for in the window of its box."""
    x0, y0, x1, y1 = box.tolist()
    rows, columns = slice(y0, y1), slice(x0 >> 6, (x1 + 63) >> 6)
    # Flat rows of words: the AND then runs over whole windows and not over the few words of one row.
    window = mask[rows, columns].reshape(-1)
    shared = np.empty(len(indices), np.int64)
    step = max(1, _CHUNK_WORDS // max(1, window.size))
    for begin in range(0, len(indices), step):
        both = words[indices[begin : begin + step], rows, columns].reshape(-1, window.size)
        np.bitwise_and(both, window, out=both)
        shared[begin : begin + step] = np.bitwise_count(both).sum(axis=1, dtype=np.int64)
    return shared


def _count(words: Words) -> Ints:
    total: Ints = np.zeros(len(words), np.int64)
    for index, mask in enumerate(words):
        total[index] = np.bitwise_count(mask).sum(dtype=np.int64)
    return total


def _tight_boxes(words: Words) -> Ints:
    """(N, 4) tight xyxy boxes of packed masks."""
    size, height, per_row = words.shape
    boxes = np.zeros((size, 4), np.int64)
    if not words.size:
        return boxes
    by_row = np.bitwise_or.reduce(words, axis=2) != 0
    by_column = unpack(np.bitwise_or.reduce(words, axis=1)[:, None], per_row * 64)[:, 0]
    filled = by_row.any(axis=1)
    boxes[:, 0] = by_column.argmax(axis=1)
    boxes[:, 1] = by_row.argmax(axis=1)
    boxes[:, 2] = per_row * 64 - by_column[:, ::-1].argmax(axis=1)
    boxes[:, 3] = height - by_row[:, ::-1].argmax(axis=1)
    boxes[~filled] = 0
    return boxes
