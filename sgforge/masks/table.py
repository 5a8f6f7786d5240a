"""MaskTable: many masks as flat arrays, the form in which they are stored and converted in bulk."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.errors import GraphError
from sgforge.graph import Mask
from sgforge.masks.runs import (
    BAD_BYTE,
    BAD_RUN,
    FITS,
    TOO_LONG,
    UNFINISHED,
    Columns,
    Ints,
    Spans,
    decode_strings,
    encode_strings,
    merge,
    move,
    offsets,
    spans_from_counts,
    spans_to_counts,
    tight_crops,
)

__all__ = ["MaskTable", "crop_spans", "fault_text", "frame_spans", "from_columns", "from_spans"]


@attrs.frozen(eq=False)
class MaskTable:
    """N masks: `frame` (N, 2) height, width; `crop` (N, 4) x, y, width, height of the tight crop; `lengths` (N,).

    `data` uint8 holds the compressed run lengths of the crops one after another, `lengths` their bytes. All in pixels,
    int64. An empty mask has a crop of zeros and no bytes.
    """

    frame: Ints
    crop: Ints
    lengths: Ints
    data: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> MaskTable:
        """The table of some masks, in order."""
        numbers = np.array(
            [(m.height, m.width, m.x, m.y, m.crop_width, m.crop_height, len(m.counts)) for m in masks], np.int64
        ).reshape(-1, 7)
        data = np.frombuffer(b"".join(m.counts for m in masks), np.uint8)
        return cls(numbers[:, :2], numbers[:, 2:6], numbers[:, 6], data)

    def masks(self) -> list[Mask]:
        """The masks as values, in order."""
        data = self.data.tobytes()
        ends = offsets(self.lengths).tolist()
        return [
            # By position: built for every mask that is read, which keywords make a quarter slower.
            Mask(height, width, x, y, crop_width, crop_height, data[begin:end])
            for (height, width), (x, y, crop_width, crop_height), begin, end in zip(
                self.frame.tolist(), self.crop.tolist(), ends, ends[1:], strict=False
            )
        ]


def fault_text(fault: int, height: int, width: int) -> str:
    """A fault code of a mask for people; the frame of `height` x `width` is the one its runs had to fill."""
    if fault == BAD_BYTE:
        return "its counts hold a byte outside '0'..'o'"
    if fault == UNFINISHED:
        return "its counts end inside a number"
    if fault == TOO_LONG:
        return f"its counts are longer than {height}x{width} (height x width) pixels can have"
    if fault == BAD_RUN:
        return "its counts hold a negative or impossibly long run"
    return f"its runs do not fill its frame of {height}x{width} (height x width) pixels"


def raise_first(faults: NDArray[np.uint8], frame: Ints) -> None:
    """A `GraphError` that names the first mask with a fault, if any has one."""
    bad = np.flatnonzero(faults != FITS)
    if len(bad):
        index = int(bad[0])
        height, width = frame[index].tolist()
        raise GraphError(f"mask {index} of {len(faults)}: {fault_text(int(faults[index]), height, width)}")


def crop_spans(table: MaskTable) -> Spans:
    """Spans in the crops; malformed run lengths are a `GraphError` naming the mask."""
    sides = table.crop[:, 2:]
    pixels = sides[:, 0] * sides[:, 1]
    counts, per_item, faults = decode_strings(table.data, table.lengths, pixels)
    spans = spans_from_counts(counts, per_item, pixels, faults)
    raise_first(faults, sides[:, ::-1])
    return spans


def frame_spans(table: MaskTable) -> Spans:
    """Spans in the full frames."""
    return move(crop_spans(table), table.crop[:, 3], table.crop[:, :2], table.frame[:, 0])


def from_spans(spans: Spans, frame: Ints) -> MaskTable:
    """The table of masks given by spans in frames (N, 2) height, width."""
    crop = tight_crops(spans, frame[:, 0])
    return _from_cropped(move(spans, frame[:, 0], -crop[:, :2], crop[:, 3]), crop, frame)


def from_columns(pieces: Columns, frame: Ints) -> MaskTable:
    """The table of masks given by pieces of columns, in order and filled, in frames (N, 2) height, width."""
    size = len(frame)
    number = np.bincount(pieces.item, minlength=size)
    filled = np.flatnonzero(number > 0)
    begin = offsets(number)[:-1][filled]
    crop = np.zeros((size, 4), np.int64)
    if len(filled):
        crop[filled, 0] = pieces.x[begin]
        crop[filled, 1] = np.minimum.reduceat(pieces.top, begin)
        crop[filled, 2] = pieces.x[begin + number[filled] - 1] + 1 - crop[filled, 0]
        crop[filled, 3] = np.maximum.reduceat(pieces.bottom, begin) - crop[filled, 1]
    own = crop[pieces.item]
    base = (pieces.x - own[:, 0]) * own[:, 3] - own[:, 1]
    return _from_cropped(merge(Spans(size, pieces.item, base + pieces.top, base + pieces.bottom)), crop, frame)


def _from_cropped(cropped: Spans, crop: Ints, frame: Ints) -> MaskTable:
    filled = crop[:, 2] > 0
    counts, per_item = spans_to_counts(cropped, crop[:, 2] * crop[:, 3])
    # An empty mask has no run lengths at all, where COCO would write one run of length 0.
    counts, per_item = counts[np.repeat(filled, per_item)], np.where(filled, per_item, 0)
    data, lengths = encode_strings(counts, per_item)
    return MaskTable(frame, crop, lengths, data)
