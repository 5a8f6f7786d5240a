"""Bootstrap intervals over images: all metrics of one or several evaluations under the same resamples.

Per-image sums are resampled, not images: one matrix product of (draws, images) counts with (images, columns) sums, in
blocks of images, so that memory stays small and predictions are never looked at again. Where groups are many and occur
in few images each, as thousands of predicates do, only the images that have one are added up for it. Percentile
intervals (Efron 1979); paired when several evaluations of the same images are given the same resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge.text.wording import counted
from sgforge_eval.intake.arrays import Floats, Ints
from sgforge_eval.measures.recall import Family, GroupedFamily, Metrics, harmonic_means

__all__ = ["Resamples", "checked_draws", "few_units", "interval"]

_BLOCK = 4096
_FEW = 50  # images or questions below which a percentile interval is too narrow
_CELLS = 1 << 22  # numbers of a block of groups, or of the images they occur in, worked on at once: 32 MB
_FILLED = 1 / 16  # the share of (image, group) from which a matrix product is faster than adding up what is there


def checked_draws(draws: int) -> int:
    """`draws`, a number of resamples; a negative one is a `ConfigError`."""
    if draws < 0:
        raise ConfigError(f"bootstrap = {draws} must be a number of resamples, 0 for no intervals")
    return draws


def few_units(count: int, noun: str) -> str:
    """What to say of intervals over so few images or questions, "" of none or enough: percentiles are short there."""
    if not 0 < count < _FEW:
        return ""
    return f"intervals over {counted(count, noun)}: below {_FEW}, percentile intervals are too narrow"


def interval(draws: Floats, level: float = 0.95) -> Floats:
    """Percentile interval (2, ...) of resampled values (draws, ...); NaN draws are left out, all NaN gives NaN."""
    ordered = np.sort(draws.reshape(len(draws), -1), axis=0)  # NaN last
    last = np.count_nonzero(~np.isnan(ordered), axis=0) - 1
    tail = (1.0 - level) / 2.0
    bounds = np.full((2, ordered.shape[1]), np.nan)
    columns = np.arange(ordered.shape[1])
    for bound, quantile in zip(bounds, (tail, 1.0 - tail), strict=True):
        place = quantile * np.maximum(last, 0)
        below = np.floor(place).astype(np.int64)
        low, high = ordered[below, columns], ordered[np.minimum(below + 1, np.maximum(last, 0)), columns]
        bound[:] = low + (high - low) * (place - below)
    return bounds.reshape(2, *draws.shape[1:])


@attrs.frozen(eq=False)
class Resamples:
    """`counts` (images, draws) uint8: how often each image is in each resample of as many images as there are."""

    counts: Ints

    @classmethod
    def of(cls, images: int, draws: int = 1000, seed: int = 0) -> Resamples:
        """`draws` resamples of so many images; the same for every call."""
        rng = np.random.default_rng(seed)
        counts = np.empty((draws, images), np.uint8)
        for row in counts:
            # 255 draws of one image of many do not happen; the cast keeps a hundred thousand images in 100 MB.
            row[:] = np.bincount(rng.integers(0, images, images, np.int32), minlength=images)
        return cls(np.ascontiguousarray(counts.T))

    def values(self, metrics: Metrics) -> dict[str, Floats]:
        """Every metric of an evaluation of these images by name, (draws,) each."""
        values: dict[str, Floats] = {}
        for family, found in zip(metrics.families, self._families(metrics.families), strict=True):
            values.update(zip(family.names, found, strict=True))
        for families in (metrics.grouped, metrics.whole):
            # Only families over the same rows are drawn together.
            means = self._means(families) if families else []
            for grouped, drawn in zip(families, means, strict=True):
                values.update(zip(grouped.names, drawn, strict=True))
        values.update(harmonic_means(values))
        return values

    def by_group(self, family: GroupedFamily, groups: Ints) -> Floats:
        """(draws, len(groups), K) values of some groups, ascending; NaN where a draw has no truth of a group."""
        rows = np.flatnonzero(np.isin(family.group, groups))
        place = np.searchsorted(groups, family.group[rows])
        values = np.full((self.counts.shape[1], len(groups), family.top.shape[1]), np.nan)
        present, bottom = self._sums(family.image[rows], place, family.bottom[rows])
        ones = np.where(bottom > 0, 0.0, np.nan)
        for column, top in enumerate(family.top[rows].T):
            values[:, present, column] = ones.T
            hit = np.flatnonzero(top)
            found, sums = self._sums(family.image[rows[hit]], place[hit], top[hit])
            values[:, found, column] = _ratio(sums, bottom[np.searchsorted(present, found)]).T
        return values

    def _families(self, families: Sequence[Family]) -> Iterator[Floats]:
        """Per family (K, draws): resampled top over resampled bottom."""
        columns = np.concatenate([np.column_stack([family.top, family.bottom]) for family in families], axis=1)
        total = np.zeros((columns.shape[1], self.counts.shape[1]))
        for start in range(0, len(self.counts), _BLOCK):
            part = columns[start : start + _BLOCK].astype(np.float32)
            total += part.T @ self.counts[start : start + _BLOCK].astype(np.float32)
        at = 0
        for family in families:
            width = len(family.names)
            yield _ratio(total[at : at + width], total[at + width])
            at += width + 1

    def _means(self, families: Sequence[GroupedFamily]) -> list[Floats]:
        """Per family (K, draws) means over the groups; the families are counted over the same rows."""
        first, draws = families[0], self.counts.shape[1]
        totals = [np.zeros((family.top.shape[1], draws)) for family in families]
        seen = np.zeros(draws, np.int64)
        single = np.bincount(first.group, minlength=first.size)[first.group] == 1
        self._add_single(families, np.flatnonzero(single), totals, seen)
        several = np.flatnonzero(~single)
        order = several[np.argsort(first.group[several], kind="stable")]
        present, starts = np.unique(first.group[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        block = max(1, _CELLS // draws)
        for start in range(0, len(present), block):
            # Within the block in the order of the images again, which full matrices are made in.
            rows = np.sort(order[starts[start] : ends[min(start + block, len(present)) - 1]])
            place = np.searchsorted(present, first.group[rows])
            groups, bottom = self._sums(first.image[rows], place, first.bottom[rows])
            seen += np.count_nonzero(bottom, axis=0)
            share = np.divide(1.0, bottom, out=np.zeros_like(bottom), where=bottom > 0)
            for family, total in zip(families, totals, strict=True):
                for column, top in enumerate(family.top[rows].T):
                    hit = np.flatnonzero(top)
                    found, sums = self._sums(first.image[rows[hit]], place[hit], top[hit])
                    total[column] += np.einsum("gd,gd->d", sums, share[np.searchsorted(groups, found)])
        return [family.means(total.T, seen).T for family, total in zip(families, totals, strict=True)]

    def _add_single(self, families: Sequence[GroupedFamily], rows: Ints, totals: list[Floats], seen: Ints) -> None:
        """Add the groups that occur in one image: drawn at all, such a group has the value that it has there.

        Of thousands of predicates most are such; they are summed by image first, and cost no more than a few groups.
        """
        first, images = families[0], len(self.counts)
        size = np.bincount(first.image[rows], minlength=images)
        tops = [top[rows] / first.bottom[rows] for family in families for top in family.top.T]
        sums = [size, *(np.bincount(first.image[rows], top, images) for top in tops)]
        held = np.flatnonzero(size)
        drawn = (self.counts[held] > 0).astype(np.float64)
        products = np.stack(sums)[:, held].astype(np.float64) @ drawn
        seen += products[0].astype(np.int64)
        ends = np.cumsum([len(total) for total in totals])[:-1]
        for place, values in enumerate(np.split(products[1:], ends)):
            totals[place] += values

    def _sums(self, image: Ints, place: Ints, weight: Floats) -> tuple[Ints, Floats]:
        """The places that occur, (g,) ascending, and their resampled sums of `weight`, (g, draws); images ascend."""
        found, index = np.unique(place, return_inverse=True)
        is_filled = len(index) > _FILLED * len(found) * len(self.counts)
        return found, (self._filled if is_filled else self._scattered)(image, index, weight, len(found))

    def _filled(self, image: Ints, place: Ints, weight: Floats, size: int) -> Floats:
        """Sums as products of full matrices."""
        total = np.zeros((size, self.counts.shape[1]))
        for start in range(0, len(self.counts), _BLOCK):
            counts = self.counts[start : start + _BLOCK].astype(np.float32)
            rows = slice(*np.searchsorted(image, (start, start + len(counts))))
            table = np.zeros((len(counts), size), np.float32)
            table[image[rows] - start, place[rows]] = weight[rows]
            total += table.T @ counts
        return total

    def _scattered(self, image: Ints, place: Ints, weight: Floats, size: int) -> Floats:
        """The same sums, place by place of the images that have it."""
        total = np.zeros((size, self.counts.shape[1]))
        order = np.argsort(place, kind="stable")
        block = max(1, _CELLS // self.counts.shape[1])
        for start in range(0, len(order), block):
            rows = order[start : start + block]
            counts = self.counts[image[rows]] * weight[rows, None].astype(np.float32)
            groups, starts = np.unique(place[rows], return_index=True)
            total[groups] += np.add.reduceat(counts, starts, axis=0)
        return total


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """NaN where `bottom` is 0."""
    ratio: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return ratio
