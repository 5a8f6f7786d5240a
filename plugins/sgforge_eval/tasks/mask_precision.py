"""COCO's average precision of predicted segments, from the pixels that they share with true ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from sgforge_eval.measures.average_precision import Detections, coco_average_precision
from sgforge_eval.measures.scorer import COCO_THRESHOLDS
from sgforge_eval.tasks.panoptic_maps import Overlaps, Segment

__all__ = ["SegmentPrecision"]

_MOST: Final = 100  # detections of a class that count in an image


@attrs.define
class SegmentPrecision:
    """Detections of things, image by image; `truth` counts true ones by class code.

    A detection takes the free true segment of its class that it overlaps most, if at the threshold; one that meets a
    crowd alone is neither right nor wrong (COCO's evaluation of masks, all areas, 100 detections a class and image).
    """

    classes: int
    _rows: list[tuple[int, int, float, tuple[bool | None, ...]]] = attrs.field(factory=list, init=False)
    _truth: dict[int, int] = attrs.field(factory=dict, init=False)

    def add(self, image: int, true: Sequence[Segment], predicted: Sequence[Segment], overlaps: Overlaps) -> None:
        """One image, by its place among all; segments of things alone."""
        wanted: dict[int, list[Segment]] = {}
        for segment in true:
            wanted.setdefault(segment.category, []).append(segment)
            self._truth[segment.category] = self._truth.get(segment.category, 0) + (not segment.is_crowd)
        given: dict[int, list[Segment]] = {}
        for segment in sorted(predicted, key=lambda one: -one.score):
            given.setdefault(segment.category, []).append(segment)
        for category, listed in given.items():
            own = wanted.get(category, [])
            table = [_overlap_of(segment, own, overlaps) for segment in listed[:_MOST]]
            marks = [_right(table, own, least) for least in COCO_THRESHOLDS]
            for segment, row in zip(listed, zip(*marks, strict=True), strict=False):
                self._rows.append((image, category, segment.score, row))

    def value(self) -> float:
        """The mean over thresholds and classes with truth; NaN without any."""
        found = [coco_average_precision(self._at(place)) for place in range(len(COCO_THRESHOLDS))]
        known = [values[~np.isnan(values)] for values in found]
        return float(np.concatenate(known).mean()) if len(known[0]) else float("nan")

    def _at(self, place: int) -> Detections:
        """The detections at one threshold, without those that count neither way."""
        rows = [row for row in self._rows if row[3][place] is not None]
        truth = np.zeros(self.classes, np.int64)
        for category, count in self._truth.items():
            truth[category] = count
        return Detections(
            image=np.array([image for image, *_ in rows], np.int32),
            group=np.array([category for _, category, *_ in rows], np.int32),
            score=np.array([score for *_, score, _ in rows], np.float32),
            right=np.array([bool(marks[place]) for *_, marks in rows], bool),
            truth=truth,
        )


def _overlap_of(segment: Segment, true: Sequence[Segment], overlaps: Overlaps) -> Mapping[int, float]:
    """IoU with each true segment by its place; with a crowd the share of the segment that lies in it."""
    area = overlaps.predicted[segment.segment]
    return {
        place: overlaps.inside(one.segment, segment.segment) / area
        if one.is_crowd
        else overlaps.iou(one.segment, segment.segment, without_void=False)
        for place, one in enumerate(true)
    }


def _right(table: Sequence[Mapping[int, float]], true: Sequence[Segment], least: float) -> list[bool | None]:
    """Whether each detection, best first, is right at a threshold; None where it meets a crowd alone."""
    taken: set[int] = set()
    found: list[bool | None] = []
    for overlap in table:
        fits = [place for place, value in overlap.items() if value >= least and place not in taken]
        own = [place for place in fits if not true[place].is_crowd]
        if own:
            # Of equal overlaps COCO takes the last.
            taken.add(max(own, key=lambda place: (overlap[place], place)))
        found.append(True if own else (None if fits else False))
    return found
