"""Maps of segment ids, and what is counted on them: panoptic quality and the IoU of classes over pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.tasks.base import TaskFileError

__all__ = ["Overlaps", "Segment", "Tally", "panoptic_quality", "read_id_map"]

_SPAN: Final = 1 << 24  # ids are three bytes
VOID: Final = 0


@attrs.frozen
class Segment:
    """One segment: its image and id, class code (-1: none), pixels as its file says, whether it is a crowd.

    `score`: of a predicted one. A crowd is void for matching.
    """

    image: str
    segment: int
    category: int
    area: int = 0
    is_crowd: bool = False
    score: float = 1.0

    @property
    def id(self) -> str:
        """The id under which a prediction names it."""
        return f"{self.image}/{self.segment}"


def read_id_map(folder: Path, name: str, where: str) -> Ints:
    """(H, W) segment ids of an image's PNG: R + 256 G + 65536 B; one that is not in the folder is a `TaskFileError`."""
    from sgforge.errors import ImageError
    from sgforge.images import Roots

    try:
        pixels = Roots({"segments": folder}).image(f"segments:{name}").array().astype(np.int64)
    except ImageError as error:
        raise TaskFileError(f"{where}, in {folder}: {error}") from None
    ids: Ints = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
    return ids


def panoptic_quality(overlap: Floats, true: Ints, wrong: Ints, missed: Ints) -> Floats:
    """PQ (classes,): sum of IoU over TP + FP / 2 + FN / 2; NaN for a class without any (Kirillov et al. 2019)."""
    divisor = true + wrong / 2 + missed / 2
    quality: Floats = np.divide(overlap, divisor, out=np.full(len(divisor), np.nan), where=divisor > 0)
    return quality


@attrs.frozen(eq=False)
class Overlaps:
    """How many pixels each true and each predicted segment of an image share; id 0 is void on both sides."""

    shared: Mapping[tuple[int, int], int]
    true: Mapping[int, int]
    predicted: Mapping[int, int]

    @classmethod
    def of(cls, true: Ints, predicted: Ints) -> Overlaps:
        """The overlaps of two maps of one size."""
        keys, counts = np.unique(true * _SPAN + predicted, return_counts=True)
        shared = {divmod(key, _SPAN): count for key, count in zip(keys.tolist(), counts.tolist(), strict=True)}
        sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for pair, count in shared.items():
            for side, segment in zip(sides, pair, strict=True):
                side[segment] = side.get(segment, 0) + count
        return cls(shared, *sides)

    def inside(self, true: int, predicted: int) -> int:
        """Pixels of both."""
        return self.shared.get((true, predicted), 0)

    def iou(self, true: int, predicted: int, *, without_void: bool) -> float:
        """Pixels of both over pixels of either; `without_void`: the predicted side's void ones are not counted."""
        both = self.inside(true, predicted)
        void = self.inside(VOID, predicted) if without_void else 0
        either = self.true.get(true, 0) + self.predicted.get(predicted, 0) - both - void
        return both / either if either else 0.0


@attrs.frozen(eq=False)
class Tally:
    """Sums per class: of IoU, true positives, false positives, misses; and the confusion of pixels."""

    overlap: Floats
    right: Ints
    wrong: Ints
    missed: Ints
    pixels: Ints

    @classmethod
    def empty(cls, classes: int) -> Tally:
        """Nothing counted yet."""
        right, wrong, missed = np.zeros((3, classes), np.int64)
        return cls(
            overlap=np.zeros(classes),
            right=right,
            wrong=wrong,
            missed=missed,
            pixels=np.zeros((classes, classes + 1), np.int64),
        )

    def add_labels(
        self, segments: Sequence[Segment], ids: Ints, given: Mapping[str, int], is_thing: list[bool]
    ) -> None:
        """One image: predicted segments are true ones under their label, stuff of one class together."""
        known, areas = np.unique(ids, return_counts=True)
        area = dict(zip(known.tolist(), areas.tolist(), strict=True))
        groups: dict[tuple[int, int], list[Segment]] = {}
        for segment in segments:
            code = given[segment.id]
            pixels = area.get(segment.segment, 0)
            if not segment.is_crowd:
                self.pixels[segment.category, code] += pixels
            if code >= 0 and pixels and not segment.is_crowd:
                groups.setdefault((code, segment.segment if is_thing[code] else -1), []).append(segment)
        found: set[int] = set()
        for (code, _), members in groups.items():
            whole = sum(area[member.segment] for member in members)
            best = max(members, key=lambda member: (member.category == code, area[member.segment]))
            # A true segment lies in one predicted segment or outside of it, so the union is the predicted segment.
            if best.category == code and area[best.segment] * 2 > whole:
                found.add(best.segment)
                self.right[code] += 1
                self.overlap[code] += area[best.segment] / whole
            else:
                self.wrong[code] += 1
        self._miss(segments, found)

    def add_maps(self, true: Sequence[Segment], predicted: Sequence[Segment], overlaps: Overlaps) -> None:
        """One image with segments of its own: matched to true ones of their class at IoU > 0.5.

        A predicted segment of which more than half lies on void, or on a crowd of its class, is no mistake.
        """
        of_class = {segment.segment: segment for segment in predicted}
        known = {segment.segment: segment for segment in true}
        found: set[int] = set()
        for wanted, given in overlaps.shared:
            self._match(known.get(wanted), of_class.get(given), overlaps, found)
        crowds = {segment.category: segment.segment for segment in true if segment.is_crowd}
        for segment in predicted:
            if -segment.segment not in found:
                excused = overlaps.inside(VOID, segment.segment)
                if segment.category in crowds:
                    excused += overlaps.inside(crowds[segment.category], segment.segment)
                self.wrong[segment.category] += excused * 2 <= overlaps.predicted[segment.segment]
        self._miss(true, found)
        for (wanted, given), count in overlaps.shared.items():
            one, other = known.get(wanted), of_class.get(given)
            if one is not None and not one.is_crowd:
                self.pixels[one.category, -1 if other is None else other.category] += count

    def _match(self, true: Segment | None, given: Segment | None, overlaps: Overlaps, found: set[int]) -> None:
        """Count a pair as right, and note both sides (the predicted one with a minus), where they match."""
        if true is None or given is None or true.is_crowd or true.category != given.category:
            return
        overlap = overlaps.iou(true.segment, given.segment, without_void=True)
        if overlap > 0.5:
            found.update((true.segment, -given.segment))
            self.right[true.category] += 1
            self.overlap[true.category] += overlap

    def _miss(self, true: Sequence[Segment], found: set[int]) -> None:
        for segment in true:
            if segment.segment not in found and not segment.is_crowd:
                self.missed[segment.category] += 1

    def values(self, things: Flags) -> dict[str, float]:
        """PQ, SQ, RQ over all classes that occur, PQ of things and of stuff, mIoU."""
        quality = panoptic_quality(self.overlap, self.right, self.wrong, self.missed)
        occurs = ~np.isnan(quality)
        divisor = self.right + self.wrong / 2 + self.missed / 2
        segmentation = np.divide(self.overlap, self.right, out=np.zeros(len(quality)), where=self.right > 0)
        recognition = np.divide(self.right, divisor, out=np.zeros(len(quality)), where=divisor > 0)
        return {
            "PQ": _mean(quality[occurs]),
            "SQ": _mean(segmentation[occurs]),
            "RQ": _mean(recognition[occurs]),
            "PQ_things": _mean(quality[occurs & things]),
            "PQ_stuff": _mean(quality[occurs & ~things]),
            "mIoU": _mean(self._pixel_iou()),
        }

    def _pixel_iou(self) -> Floats:
        """IoU over pixels of each class that occurs in truth or prediction; void truth is not counted."""
        right = np.diagonal(self.pixels[:, :-1])
        union = self.pixels.sum(axis=1) + self.pixels[:, :-1].sum(axis=0) - right
        overlap: Floats = right[union > 0] / union[union > 0]
        return overlap

    def table(self, names: list[str]) -> list[dict[str, object]]:
        """One row per class that occurs."""
        quality = panoptic_quality(self.overlap, self.right, self.wrong, self.missed)
        return [
            {"class": name, "PQ": float(value), "TP": int(true), "FP": int(wrong), "FN": int(missed)}
            for name, value, true, wrong, missed in zip(
                names, quality, self.right, self.wrong, self.missed, strict=True
            )
            if not np.isnan(value)
        ]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
