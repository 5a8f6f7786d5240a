"""Overlap of masks on run lengths: the pixels two masks share are counted from their runs, never from pixels.

Only pairs of regions whose names agree are asked about, most of them fall to their crops alone (an IoU of 0.5 needs a
third of both areas in common), and each run of the smaller mask is counted against the other by binary search.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.masks.runs import Ints, Spans, merge, move, segments
from sgforge.masks.runs import offsets as offsets_of
from sgforge.masks.table import MaskTable, crop_spans

__all__ = ["RunMasks"]


@attrs.frozen(eq=False)
class RunMasks:
    """Masks as runs in their full frames, of many frames: `spans` in order, `areas` (N,), `crops` (N, 4) xyxy.

    `height` (N,) of each frame in pixels; positions are COCO's, column * height + row.
    """

    spans: Spans
    areas: Ints
    crops: Ints
    frames: Ints

    @classmethod
    def of(cls, table: MaskTable) -> RunMasks:
        """The runs of a table's masks; malformed run lengths are a `GraphError`."""
        height = table.frame[:, 0]
        spans = move(crop_spans(table), table.crop[:, 3], table.crop[:, :2], height)
        crops = np.concatenate([table.crop[:, :2], table.crop[:, :2] + table.crop[:, 2:]], axis=1)
        return cls(spans, _areas(spans), crops, table.frame)

    @property
    def offsets(self) -> Ints:
        """(N + 1,) where the runs of each mask begin."""
        return offsets_of(np.bincount(self.spans.item, minlength=self.spans.size))

    def unions(self, first: Ints, second: Ints) -> RunMasks:
        """Mask i: every pixel of masks first[i] or second[i]."""
        rows = np.stack([first, second], axis=1).ravel()
        starts = segments(self.offsets, rows)
        item = np.repeat(np.arange(len(rows)), np.diff(self.offsets)[rows]) // 2
        spans = _united(item, self.spans.start[starts], self.spans.stop[starts], len(first))
        crops = np.concatenate(
            [
                np.minimum(self.crops[first, :2], self.crops[second, :2]),
                np.maximum(self.crops[first, 2:], self.crops[second, 2:]),
            ],
            axis=1,
        )
        return RunMasks(spans, _areas(spans), crops, self.frames[first])

    def shared(self, mine: Ints, other: RunMasks, theirs: Ints) -> Ints:
        """Pixels that mask mine[i] shares with mask theirs[i] of `other`; frames must be equal."""
        runs = np.diff(self.offsets)[mine], np.diff(other.offsets)[theirs]
        swap = runs[1] < runs[0]
        result = np.zeros(len(mine), np.int64)
        result[~swap] = _shared(self, mine[~swap], other, theirs[~swap])
        result[swap] = _shared(other, theirs[swap], self, mine[swap])
        return result

    def match(self, mine: Ints, other: RunMasks, theirs: Ints, *, strict: bool) -> NDArray[np.bool_]:
        """Whether the IoU of mask mine[i] with mask theirs[i] is at least 0.5 (`strict`: above); empty masks never."""
        areas = self.areas[mine] + other.areas[theirs]
        low = np.maximum(self.crops[mine, :2], other.crops[theirs, :2])
        sides = np.minimum(self.crops[mine, 2:], other.crops[theirs, 2:]) - low
        reachable = 3 * np.maximum(sides, 0).prod(axis=1) >= areas
        same_frame = (self.frames[mine] == other.frames[theirs]).all(axis=1)
        asked = np.flatnonzero(reachable & same_frame & (areas > 0))
        shared = np.zeros(len(mine), np.int64)
        shared[asked] = self.shared(mine[asked], other, theirs[asked])
        union = areas - shared
        found: NDArray[np.bool_] = 2 * shared > union if strict else 2 * shared >= union
        return found & (shared > 0)


def _areas(spans: Spans) -> Ints:
    return np.bincount(spans.item, spans.stop - spans.start, spans.size).astype(np.int64)


def _shared(first: RunMasks, rows: Ints, second: RunMasks, others: Ints) -> Ints:
    """For every run of first[rows]: pixels of second[others] before its stop, less those before its start."""
    runs = segments(first.offsets, rows)
    pair = np.repeat(np.arange(len(rows)), np.diff(first.offsets)[rows])
    start, stop = first.spans.start[runs], first.spans.stop[runs]
    count = _before(second, others[pair], stop) - _before(second, others[pair], start)
    return np.bincount(pair, count, len(rows)).astype(np.int64)


def _before(masks: RunMasks, mask: Ints, position: Ints) -> Ints:
    """True pixels of mask[i] before position[i], up to a constant of the mask."""
    spans = masks.spans
    if not len(spans.item):
        return np.zeros(len(mask), np.int64)
    span = int((masks.frames[:, 0] * masks.frames[:, 1]).max()) + 1
    at = np.searchsorted(spans.item * span + spans.start, mask * span + position, "right") - 1
    filled = np.concatenate([[0], np.cumsum(spans.stop - spans.start)])
    here = np.maximum(at, 0)
    own = (at >= 0) & (spans.item[here] == mask)
    inside = np.minimum(position, spans.stop[here]) - spans.start[here]
    return np.where(own, filled[here] + inside, filled[masks.offsets[mask]])


def _united(item: Ints, start: Ints, stop: Ints, size: int) -> Spans:
    """Runs of unions of overlapping runs: depth of a sweep over starts and stops."""
    items, positions = np.tile(item, 2), np.concatenate([start, stop])
    step = np.repeat(np.array([1, -1]), len(item))
    order = np.lexsort((-step, positions, items))
    depth = np.cumsum(step[order])
    before = np.concatenate([[0], depth[:-1]])
    items, positions = items[order], positions[order]
    opens, closes = (before == 0) & (depth > 0), (before > 0) & (depth == 0)
    return merge(Spans(size, items[opens], positions[opens], positions[closes]))
