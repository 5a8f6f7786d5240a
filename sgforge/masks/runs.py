"""Run lengths of many masks at once: COCO's compressed strings, counts, and spans that can be moved between frames.

All masks of a batch lie in flat arrays, one after another. Positions are COCO's: column-major, `column * height + row`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BAD_BYTE",
    "BAD_RUN",
    "FITS",
    "TOO_LONG",
    "UNFINISHED",
    "WRONG_TOTAL",
    "Columns",
    "Ints",
    "Spans",
    "decode_strings",
    "encode_strings",
    "merge",
    "most_bytes",
    "move",
    "offsets",
    "segments",
    "spans_from_counts",
    "spans_to_counts",
    "split_columns",
    "tight_crops",
]

Ints: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]
_Count = TypeVar("_Count", int, Ints)

FITS: Final = 0
BAD_BYTE: Final = 1
UNFINISHED: Final = 2
BAD_RUN: Final = 3
WRONG_TOTAL: Final = 4
TOO_LONG: Final = 5

_MAX_BYTES: Final = 7  # 35 bits: more than any frame that fits in memory needs
_BITS: Final = 5
_MORE: Final = 32
_LARGEST: Final = 63
_ZERO: Final = 48  # COCO writes 6 bits as the characters from '0' to 'o'


@attrs.frozen(eq=False)
class Spans:
    """Maximal runs of true pixels [start, stop), in order; `item` (R,) says of which of `size` masks."""

    size: int
    item: Ints
    start: Ints
    stop: Ints


@attrs.frozen(eq=False)
class Columns:
    """Spans cut at column borders: rows [top, bottom) of column `x` of mask `item`, in order."""

    item: Ints
    x: Ints
    top: Ints
    bottom: Ints

    def take(self, rows: Ints) -> Columns:
        """The pieces of these indices, in this order."""
        return Columns(self.item[rows], self.x[rows], self.top[rows], self.bottom[rows])


def offsets(lengths: NDArray[Any]) -> Ints:
    """Where each of N parts begins, and the end of the last: (N + 1,)."""
    result = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=result[1:])
    return result


def segments(offsets_of_all: Ints, chosen: Ints) -> Ints:
    """All rows of the segments `chosen`, in their order; segment i is the rows from offset i to offset i + 1."""
    counts = np.diff(offsets_of_all)[chosen]
    ends = offsets(counts)
    return np.arange(ends[-1]) + np.repeat(offsets_of_all[chosen] - ends[:-1], counts)


def _flag(faults: Bytes, items: Ints, code: int) -> None:
    """Set `code` for items that have no fault yet."""
    items = items[faults[items] == FITS]
    faults[items] = code


def _restart_sums(values: Ints, lengths: Ints) -> Ints:
    """Cumulative sums that start again at every part."""
    sums: Ints = np.cumsum(values)
    before = np.concatenate([np.zeros(1, np.int64), sums])[offsets(lengths)[:-1]]
    restarted: Ints = sums - np.repeat(before, lengths)
    return restarted


def most_bytes(pixels: _Count) -> _Count:
    """Bytes that the string of a mask of so many pixels has at most.

    It has at most a run for each pixel and an empty one before them. A byte says a run below 16; of the runs that take
    another, each for itself and for the difference two runs later, there is one in 16 pixels at most.
    """
    return pixels + 1 + pixels // 8


def decode_strings(data: Bytes, lengths: Ints, pixels: Ints) -> tuple[Ints, Ints, Bytes]:
    """COCO's compressed strings of masks of `pixels` (N,) to (counts, counts per mask, fault code per mask).

    A string that is longer than any of its mask can be is not read, and has no counts.
    """
    too_long = np.asarray(lengths) > most_bytes(pixels)
    if not too_long.any():
        return _decode(data, lengths)
    fits = np.flatnonzero(~too_long)
    counts, per_fit, fit_faults = _decode(data[segments(offsets(lengths), fits)], np.asarray(lengths)[fits])
    per_item, faults = np.zeros(len(lengths), np.int64), np.full(len(lengths), TOO_LONG, np.uint8)
    per_item[fits], faults[fits] = per_fit, fit_faults
    return counts, per_item, faults


def _decode(data: Bytes, lengths: Ints) -> tuple[Ints, Ints, Bytes]:
    """COCO's compressed strings to run lengths: (counts, counts per mask, fault code per mask).

    A number is little-endian groups of 5 bits, sign in the last; from the fourth on it is the difference to the number
    two before it (pycocotools, maskApi). A mask with a fault still has as many counts as stated; they mean nothing.
    """
    faults = np.zeros(len(lengths), np.uint8)
    begin = offsets(lengths)
    value = data - np.uint8(_ZERO)  # a byte below '0' wraps round to one above 'o'
    _flag(faults, _owners(begin, np.flatnonzero(value > _LARGEST)), BAD_BYTE)
    ends = (value & _MORE) == 0
    last = begin[1:] - 1
    filled = np.flatnonzero(np.asarray(lengths) > 0)
    _flag(faults, filled[~ends[last[filled]]], UNFINISHED)
    ends[last[filled]] = True
    stops = np.flatnonzero(ends)
    starts = np.concatenate([np.zeros(min(1, len(stops)), np.int64), stops[:-1] + 1])
    widths = stops - starts + 1
    _flag(faults, _owners(begin, stops[widths > _MAX_BYTES]), BAD_RUN)
    widths = np.minimum(widths, _MAX_BYTES)
    numbers = _join_groups(value, starts, widths)
    negative = (value[stops] & 16) != 0
    numbers -= np.where(negative, np.left_shift(1, _BITS * widths), 0)
    per_item = np.diff(np.searchsorted(stops, begin))
    return _undo_differences(numbers, per_item), per_item, faults


def _owners(begin: Ints, places: Ints) -> Ints:
    """Of which mask the bytes at `places` are."""
    owners: Ints = np.searchsorted(begin, places, side="right") - 1
    return owners


def _join_groups(value: Bytes, starts: Ints, widths: Ints) -> Ints:
    """The numbers whose groups of 5 bits begin at `starts`, the lowest first; most have one or two."""
    numbers = (value[starts] & 31).astype(np.int64)
    longer = np.flatnonzero(widths > 1)
    for group in range(1, _MAX_BYTES):
        if not len(longer):
            break
        numbers[longer] |= (value[starts[longer] + group] & 31).astype(np.int64) << (_BITS * group)
        longer = longer[widths[longer] > group + 1]
    return numbers


def _undo_differences(numbers: Ints, per_item: Ints) -> Ints:
    index = np.arange(len(numbers)) - np.repeat(offsets(per_item)[:-1], per_item)
    odd = index % 2 == 1
    even = (index % 2 == 0) & (index > 0)
    counts = numbers.copy()
    counts[odd] = _restart_sums(numbers[odd], per_item // 2)
    counts[even] = _restart_sums(numbers[even], np.maximum(per_item - 1, 0) // 2)
    return counts


def encode_strings(counts: Ints, per_item: Ints) -> tuple[Bytes, Ints]:
    """Run lengths to COCO's compressed strings: (bytes of all masks, bytes per mask)."""
    index = np.arange(len(counts)) - np.repeat(offsets(per_item)[:-1], per_item)
    numbers = counts.copy()
    later = np.flatnonzero(index > 2)
    numbers[later] -= counts[later - 2]
    widths = np.ones(len(numbers), np.int64)
    largest = int(np.abs(numbers).max(initial=0))
    for groups in range(1, _MAX_BYTES):
        limit = 1 << (_BITS * groups - 1)
        if largest < limit:
            break
        widths += (numbers < -limit) | (numbers >= limit)
    starts = offsets(widths)
    data = np.empty(starts[-1], np.uint8)
    here, place = numbers, starts[:-1]
    for group in range(int(widths.max(initial=0))):
        more = widths > group + 1
        data[place] = (here & 31) + _ZERO + _MORE * more
        longer = np.flatnonzero(more)
        here, place, widths = here[longer] >> _BITS, place[longer] + 1, widths[longer]
    ends = starts[offsets(per_item)]
    return data, np.diff(ends)


def merge(spans: Spans) -> Spans:
    """Spans in order, with empty ones dropped and touching ones of the same mask joined."""
    filled = spans.stop > spans.start
    item, start, stop = spans.item[filled], spans.start[filled], spans.stop[filled]
    if not len(item):
        return Spans(spans.size, item, start, stop)
    breaks = (item[1:] != item[:-1]) | (start[1:] != stop[:-1])
    first = np.concatenate([[True], breaks])
    final = np.concatenate([breaks, [True]])
    return Spans(spans.size, item[first], start[first], stop[final])


def spans_from_counts(counts: Ints, per_item: Ints, totals: Ints, faults: Bytes) -> Spans:
    """Spans of run lengths; masks with a negative run or another total than `totals` get a fault code and no spans."""
    size = len(per_item)
    item = np.repeat(np.arange(size), per_item)
    _flag(faults, item[(counts < 0) | (counts >= 1 << 34)], BAD_RUN)
    stop = _restart_sums(counts, per_item)
    sums = np.zeros(size, np.int64)
    filled = np.flatnonzero(per_item > 0)
    sums[filled] = stop[offsets(per_item)[1:][filled] - 1]
    _flag(faults, np.flatnonzero(sums != totals), WRONG_TOTAL)
    index = np.arange(len(counts)) - np.repeat(offsets(per_item)[:-1], per_item)
    true = (index % 2 == 1) & (faults[item] == FITS)
    return merge(Spans(size, item[true], stop[true] - counts[true], stop[true]))


def spans_to_counts(spans: Spans, totals: Ints) -> tuple[Ints, Ints]:
    """Run lengths of maximal spans as pycocotools writes them: (counts, counts per mask).

    They begin with a run of false pixels, of length 0 if need be, and never end with one of length 0.
    """
    runs = np.bincount(spans.item, minlength=spans.size)
    ends = np.zeros(spans.size, np.int64)
    filled = np.flatnonzero(runs > 0)
    ends[filled] = spans.stop[offsets(runs)[1:][filled] - 1]
    per_item = 2 * runs + ((ends != totals) | (runs == 0))
    begin = offsets(per_item)
    bounds = np.empty(begin[-1], np.int64)
    bounds[begin[1:] - 1] = totals
    place = begin[:-1][spans.item] + 2 * (np.arange(len(spans.item)) - offsets(runs)[:-1][spans.item])
    bounds[place] = spans.start
    bounds[place + 1] = spans.stop
    counts = np.diff(bounds, prepend=0)
    counts[begin[:-1]] = bounds[begin[:-1]]
    return counts, per_item


def split_columns(spans: Spans, heights: Ints, whole: NDArray[np.bool_] | None = None) -> Columns:
    """Spans cut at the borders of columns of `heights` (N,) pixels; not those of masks that are `whole` (N,)."""
    height = heights[spans.item]
    first = spans.start // height
    final = (spans.stop - 1) // height
    if whole is not None:
        final = np.where(whole[spans.item], first, final)
    pieces = final - first + 1
    source = np.repeat(np.arange(len(pieces)), pieces)
    step = np.arange(len(source)) - np.repeat(offsets(pieces)[:-1], pieces)
    top = np.where(step == 0, (spans.start - first * height)[source], 0)
    bottom = np.where(step == pieces[source] - 1, (spans.stop - final * height)[source], height[source])
    return Columns(spans.item[source], first[source] + step, top, bottom)


def move(spans: Spans, heights: Ints, shift: Ints, new_heights: Ints) -> Spans:
    """The same pixels shifted by `shift` (N, 2) (x, y) into frames with columns of `new_heights` (N,) pixels."""
    # Columns that stay as high as they were need no cut: a few runs over a billion columns stay a few.
    columns = split_columns(spans, heights, heights == new_heights)
    base = (columns.x + shift[columns.item, 0]) * new_heights[columns.item] + shift[columns.item, 1]
    return merge(Spans(spans.size, columns.item, base + columns.top, base + columns.bottom))


def tight_crops(spans: Spans, heights: Ints) -> Ints:
    """(N, 4) x, y, width, height of the tight crop; all 0 for a mask without spans."""
    crops = np.zeros((spans.size, 4), np.int64)
    runs = np.bincount(spans.item, minlength=spans.size)
    filled = np.flatnonzero(runs > 0)
    if not len(filled):
        return crops
    height = heights[spans.item]
    first, final = spans.start // height, (spans.stop - 1) // height
    crosses = first != final
    top = np.where(crosses, 0, spans.start - first * height)
    bottom = np.where(crosses, height, spans.stop - final * height)
    begin = offsets(runs)[:-1][filled]
    end = offsets(runs)[1:][filled] - 1
    crops[filled, 0] = first[begin]
    crops[filled, 1] = np.minimum.reduceat(top, begin)
    crops[filled, 2] = final[end] + 1 - first[begin]
    crops[filled, 3] = np.maximum.reduceat(bottom, begin) - crops[filled, 1]
    return crops
