"""Segmenter `select-regions`: which of the regions that are there stay, and for what reason the others go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge import boxes
from sgforge.edits import Edit
from sgforge.graph import Mask, Region, Sample
from sgforge.masks import areas, selection
from sgforge.stages import Answer, Failure, Part, Resources
from sgforge.text.wording import counted
from sgforge_sam.config import COLUMNS, SelectOptions
from sgforge_sam.nested import Nested, find_regions
from sgforge_sam.regions import measured

__all__ = ["REASONS", "RegionSelector"]

REASONS: Final[Mapping[str, str]] = {
    "too-small": "fewer pixels than min_area; the degree is how many",
    "unconfirmed": "no generated region overlaps this annotated one enough; the degree is the best IoU",
    "suppressed": "its box overlaps that of a better generated region too much",
    "duplicate": "the mask of an earlier generated region is the same",
    "not-merged": "a candidate that does not join the primary regions",
    "union": "its parts together say the same",
    "covered": "an annotated region says the same; the degree is the best IoU",
    "generated": "only there to confirm annotated regions",
    "beyond-limit": "less salient than as many as may stay; the degree is its salience",
}
"""Reason codes of verdicts, in the order of the rules, with what they mean."""

_NOTHING_GENERATED: Final = "nothing-generated"

_Reasons = dict[int, tuple[str, float | None]]


class RegionSelector:
    """Applies its rules one after another, each to what the ones before left; a rejected region names the first."""

    def __init__(self, options: SelectOptions) -> None:
        self.options = options
        self._by: tuple[Part, ...] = ()

    def setup(self, resources: Resources) -> None:
        """Take the segmenters whose regions are selected from, if there are any."""
        self._by = resources.parts.get("by", ())

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """Verdicts on the regions of each sample; with nested segmenters also those of their regions that stay."""
        if not self._by:
            return [_Selection(self.options, sample).edit() for sample in samples]
        found = find_regions(self._by, samples)
        return [one if isinstance(one, Failure) else self._among(one) for one in found]

    def _among(self, nested: Nested) -> Edit:
        verdicts = _Selection(self.options, nested.sample).edit()
        return nested.selected(verdicts, {column.name for column in COLUMNS})

    @staticmethod
    def notes(counts: Mapping[str, int]) -> list[str]:
        """A remark on images whose annotated regions nothing could confirm."""
        count = counts.get(_NOTHING_GENERATED, 0)
        told = "without a generated region, so no annotated region was confirmed: put a segmenter before this step"
        return [f"{counted(count, 'image')} {told}, or set confirm = false"] if count else []


@attrs.frozen(eq=False)
class _Places:
    """Some regions of one kind by index, all of which have a box."""

    regions: Mapping[int, Region]

    @property
    def indices(self) -> list[int]:
        return list(self.regions)

    @property
    def boxes(self) -> NDArray[np.float64]:
        return np.array([_box(region) for region in self.regions.values()], np.float64).reshape(-1, 4)

    @property
    def masks(self) -> list[Mask]:
        return [region.mask for region in self.regions.values() if region.mask is not None]

    def by_mask(self) -> tuple[_Places, _Places]:
        """Those with a mask, and those without."""
        masked = [index for index, region in self.regions.items() if region.mask is not None]
        return self.only(masked), self.only([index for index in self.regions if index not in set(masked)])

    def only(self, indices: Sequence[int]) -> _Places:
        return _Places({index: self.regions[index] for index in indices})


class _Selection:
    """One sample on its way through the rules."""

    def __init__(self, options: SelectOptions, sample: Sample) -> None:
        self.options = options
        self.sample = sample
        self.gone: _Reasons = {}
        self.degrees: dict[int, float] = {}
        self.faults: dict[str, int] = {}

    def edit(self) -> Edit:
        """The verdicts of all rules; confirmed regions are kept with the degree of their confirmation."""
        for rule in (
            self._small,
            self._confirm,
            self._suppress,
            self._merge,
            self._unions,
            self._generated,
            self._limit,
        ):
            rule()
        rejected = [
            Edit.reject(index, reason, degree, target="region") for index, (reason, degree) in sorted(self.gone.items())
        ]
        kept = [
            Edit.keep(index, degree=degree, target="region")
            for index, degree in self.degrees.items()
            if index not in self.gone
        ]
        return Edit.sum([*rejected, *kept, Edit(faults=self.faults)])

    def _standing(self) -> dict[int, Region]:
        """Regions that no rule has rejected and that have a place."""
        regions = self.sample.graph.regions
        return {index: row for index, row in regions.items() if index not in self.gone and _box(row) is not None}

    def _annotated(self) -> _Places:
        return _Places({index: row for index, row in self._standing().items() if row.made_by is None})

    def _made(self, source: str | None = None) -> _Places:
        """Generated regions that have a mask, of one source if it is named."""
        return _Places(
            {
                index: row
                for index, row in self._standing().items()
                if row.made_by is not None and row.mask is not None and source in (None, row.source)
            }
        )

    def _reject(self, places: _Places, kept: NDArray[np.int64], reason: str) -> None:
        """Reject all of some regions but those at the places `kept`."""
        stays = set(kept.tolist())
        for place, index in enumerate(places.indices):
            if place not in stays:
                self.gone[index] = (reason, None)

    def _small(self) -> None:
        if not self.options.min_area:
            return
        for index, region in self._standing().items():
            pixels = _pixels(region)
            if pixels < self.options.min_area:
                self.gone[index] = ("too-small", pixels)

    def _confirm(self) -> None:
        """SVG section 2.1: an annotated region stays if a generated one overlaps it."""
        if not self.options.confirm:
            return
        annotated, made = self._annotated(), self._made()
        if annotated.regions and not made.regions:
            self.faults[_NOTHING_GENERATED] = 1
        for index, degree in _best(annotated, made).items():
            if degree > self.options.confirm_iou:
                self.degrees[index] = degree
            else:
                self.gone[index] = ("unconfirmed", degree)

    def _suppress(self) -> None:
        if self.options.box_nms < 1:
            made = self._made()
            worth = [_worth(row, self.options.nms_by) for row in made.regions.values()]
            self._reject(made, selection.nms(made.boxes, worth, self.options.box_nms), "suppressed")
        if self.options.duplicates < 1:
            made = self._made()
            self._reject(made, selection.without_duplicates(measured(made.masks), self.options.duplicates), "duplicate")

    def _merge(self) -> None:
        if self.options.merge == "no":
            return
        primary, candidates = self._made(self.options.primary), self._made(self.options.candidates)
        if self.options.unions != "no":
            standing = selection.without_unions(measured(primary.masks), self.options.unions == "as-released")
            self._reject(primary, standing, "union")
            primary = primary.only([primary.indices[place] for place in standing.tolist()])
        joined = selection.merge(measured(primary.masks), measured(candidates.masks), self.options.merge)
        self._reject(candidates, joined, "not-merged")

    def _unions(self) -> None:
        if self.options.unions != "no" and self.options.merge == "no":
            made = self._made()
            standing = selection.without_unions(measured(made.masks), self.options.unions == "as-released")
            self._reject(made, standing, "union")

    def _generated(self) -> None:
        """What becomes of generated regions where there are annotated ones."""
        made = self._made()
        if self.options.generated == "drop":
            self._reject(made, np.zeros(0, np.int64), "generated")
        elif self.options.generated == "uncovered":
            for index, degree in _best(made, self._annotated()).items():
                if degree > self.options.covered:
                    self.gone[index] = ("covered", degree)

    def _limit(self) -> None:
        standing = _Places(self._standing())
        if not self.options.max_regions or len(standing.regions) <= self.options.max_regions:
            return
        graph = self.sample.graph
        places = standing.boxes
        corner = np.array([graph.width, graph.height], np.float64) if graph.width else places[:, 2:].max(axis=0)
        scores = [1.0 if row.score is None else row.score for row in standing.regions.values()]
        value = boxes.salience(places, scores, np.zeros(2), corner)
        for place in np.argsort(-value, kind="stable")[self.options.max_regions :].tolist():
            self.gone[standing.indices[place]] = ("beyond-limit", float(value[place]))


def _box(region: Region) -> tuple[float, float, float, float] | None:
    """The box of a region: of its mask if it has one, else its own."""
    return region.mask.box if region.mask is not None and region.mask.box is not None else region.box


def _pixels(region: Region) -> float:
    if region.mask is not None:
        return float(areas([region.mask])[0])
    box = region.box
    assert box is not None
    return (box[2] - box[0]) * (box[3] - box[1])


def _worth(region: Region, by: str) -> float:
    if by == "area":
        return _pixels(region)
    return 1.0 if region.score is None else region.score


def _best(regions: _Places, others: _Places) -> dict[int, float]:
    """The best IoU of each region with any of the others: of masks where both have one, else of boxes."""
    best = dict.fromkeys(regions.indices, 0.0)
    for first, second in product(regions.by_mask(), others.by_mask()):
        for index, degree in zip(first.indices, _degrees(first, second).tolist(), strict=True):
            best[index] = max(best[index], degree)
    return best


def _degrees(first: _Places, second: _Places) -> NDArray[np.float64]:
    if not (first.masks and second.masks):
        return selection.confirm(first.boxes, second.boxes).degree
    together = measured([*first.masks, *second.masks])
    count = len(first.regions)
    return selection.confirm(together.take(range(count)), together.take(range(count, len(together)))).degree
