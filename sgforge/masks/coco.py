"""Masks from and to COCO run lengths of the full frame: compressed strings and lists of counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.errors import GraphError
from sgforge.graph import Mask
from sgforge.masks.runs import Ints, decode_strings, encode_strings, offsets, spans_from_counts, spans_to_counts
from sgforge.masks.table import MaskTable, frame_spans, from_spans, raise_first
from sgforge.text.wording import counted

__all__ = [
    "CocoStrings",
    "from_coco",
    "from_coco_batch",
    "from_coco_strings",
    "to_coco",
    "to_coco_batch",
    "to_coco_with_areas",
]

Counts = bytes | str | Sequence[int]


@attrs.frozen(eq=False)
class CocoStrings:
    """N compressed full-frame run lengths: `data` uint8, one after another, of `lengths` (N,) bytes each."""

    data: NDArray[np.uint8]
    lengths: Ints

    @classmethod
    def of(cls, strings: Sequence[bytes]) -> CocoStrings:
        """Some strings, in order."""
        return cls(np.frombuffer(b"".join(strings), np.uint8), np.array([len(s) for s in strings], np.int64))

    def strings(self) -> list[bytes]:
        """The strings, in order."""
        data = self.data.tobytes()
        ends = offsets(self.lengths).tolist()
        return [data[begin:end] for begin, end in pairwise(ends)]


def from_coco_strings(strings: CocoStrings, frame: Ints) -> tuple[MaskTable, NDArray[np.uint8]]:
    """Masks of compressed strings in frames (N, 2) height, width, and a fault code per mask (`masks.fault_text`).

    A mask with a fault comes out empty; nothing is raised, so that a reader can report every bad mask.
    """
    pixels = frame[:, 0] * frame[:, 1]
    counts, per_item, faults = decode_strings(strings.data, strings.lengths, pixels)
    spans = spans_from_counts(counts, per_item, pixels, faults)
    return from_spans(spans, frame), faults


def from_coco_batch(counts: Sequence[Counts], sizes: Sequence[tuple[int, int]]) -> list[Mask]:
    """Masks of full-frame run lengths, each a compressed string or a list of counts; `sizes` are (height, width).

    Run lengths that are malformed or do not fill their frame are a `GraphError` naming the mask.
    """
    if len(counts) != len(sizes):
        raise GraphError(f"{counted(len(counts), 'mask')} need as many sizes, got {len(sizes)}")
    frame = np.array(sizes, np.int64).reshape(-1, 2)
    strings = [
        _as_string(item, index, height * width)
        for index, (item, (height, width)) in enumerate(zip(counts, sizes, strict=True))
    ]
    table, faults = from_coco_strings(CocoStrings.of(strings), frame)
    raise_first(faults, frame)
    return table.masks()


def from_coco(counts: Counts, height: int, width: int) -> Mask:
    """The mask of one full-frame run length, a compressed string or a list of counts."""
    return from_coco_batch([counts], [(height, width)])[0]


def _as_string(counts: Counts, index: int, pixels: int) -> bytes:
    if isinstance(counts, bytes):
        return counts
    if isinstance(counts, str):
        if not counts.isascii():
            raise GraphError(f"mask {index}: its counts hold a character outside ASCII")
        return counts.encode("ascii")
    if len(counts) > pixels + 1:
        raise GraphError(f"mask {index}: {len(counts):,} run lengths, its {pixels:,} pixels have at most one more")
    if not all(isinstance(run, (int, np.integer)) and not isinstance(run, bool) and 0 <= run < 2**34 for run in counts):
        raise GraphError(f"mask {index}: its counts must be run lengths, whole numbers from 0")
    numbers = np.array(counts, np.int64)
    data, _ = encode_strings(numbers, np.array([len(numbers)]))
    return data.tobytes()


def to_coco_batch(masks: Sequence[Mask]) -> list[bytes]:
    """Compressed full-frame run lengths, byte for byte what `pycocotools.mask.encode` gives for the same pixels."""
    return to_coco_with_areas(masks)[0]


def to_coco_with_areas(masks: Sequence[Mask]) -> tuple[list[bytes], Ints]:
    """The same, and the true pixels (N,) of each mask."""
    table = MaskTable.of(masks)
    spans = frame_spans(table)
    areas = np.bincount(spans.item, spans.stop - spans.start, minlength=len(table)).astype(np.int64)
    counts, per_item = spans_to_counts(spans, table.frame[:, 0] * table.frame[:, 1])
    data, lengths = encode_strings(counts, per_item)
    return CocoStrings(data, lengths).strings(), areas


def to_coco(mask: Mask) -> bytes:
    """The compressed full-frame run lengths of one mask."""
    return to_coco_batch([mask])[0]
