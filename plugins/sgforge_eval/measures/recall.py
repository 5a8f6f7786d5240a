"""Recall in all its forms, as ratios of per-image sums: one computation for the value and for its bootstrap.

Every metric is sum_i w_i top_i / sum_i w_i bottom_i over images i (or a mean of such ratios over predicates); w = 1
gives the value, the counts of a resample give one bootstrap draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from sgforge.graph import CATEGORIES
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.measures.average_precision import (
    Detections,
    coco_average_precision,
    envelope_average_precision,
    triplet_average_precision,
)
from sgforge_eval.measures.conventions import Convention
from sgforge_eval.measures.groups import DISTANCES, NOVELTIES, SIZES
from sgforge_eval.measures.scorer import HitTable, Measure

__all__ = [
    "Family",
    "GroupedFamily",
    "Metrics",
    "detection_values",
    "harmonic_means",
    "measure_table",
    "open_images_values",
    "precision_values",
    "recall_curves",
]


@attrs.frozen(eq=False)
class Family:
    """One metric at every K: `top` (N, K) and `bottom` (N,) float64 per image; `names` of its K values."""

    names: tuple[str, ...]
    top: Floats
    bottom: Floats

    def values(self) -> Floats:
        """(K,) values; NaN where no image counts."""
        total = self.bottom.sum()
        values: Floats = self.top.sum(axis=0) / total if total else np.full(len(self.names), np.nan)
        return values


@attrs.frozen(eq=False)
class GroupedFamily:
    """One metric at every K for each group (predicate or category).

    Row g belongs to `image[g]` and `group[g]`, with `top` (G, K) and `bottom` (G,); `size` groups in all. `over_all`:
    the mean over groups divides by `divisor` (all that a convention knows, one without truth counting 0); else by those
    with truth. `names` are those of the means, `members` those of one group's values.
    """

    names: tuple[str, ...]
    members: tuple[str, ...]
    image: Ints
    group: Ints
    top: Floats
    bottom: Floats
    size: int
    divisor: int
    over_all: bool

    def table(self) -> Floats:
        """(size, K) values per group, NaN without truth."""
        bottom = np.bincount(self.group, self.bottom, self.size)
        top = np.stack([np.bincount(self.group, column, self.size) for column in self.top.T], axis=1)
        table: Floats = np.divide(top, bottom[:, None], out=np.full(top.shape, np.nan), where=bottom[:, None] > 0)
        return table

    def values(self) -> Floats:
        """(K,) means over the groups; NaN without any truth."""
        table = self.table()
        return self.means(np.nansum(table, axis=0), np.count_nonzero(~np.isnan(table[:, 0])))

    def means(self, total: Floats, seen: Ints | int) -> Floats:
        """(..., K) means over the groups, from sums over those with truth and how many (...) have it."""
        known = np.asarray(seen)[..., None]
        divisor = np.where(known > 0, self.divisor if self.over_all else known, 1)
        means: Floats = np.where(known > 0, total / divisor, np.nan)
        return means


@attrs.frozen(eq=False)
class Metrics:
    """All metrics of one table of hits: `families` and `grouped` (per predicate), `categories`; `used` (N,) bool.

    `places`: constrained recall by distance, by size ratio, and where asked for by names seen in training.

    The families of `grouped` have the same rows: `image`, `group` and `bottom` are equal.
    """

    families: tuple[Family, ...]
    grouped: tuple[GroupedFamily, ...]
    categories: GroupedFamily
    used: Flags
    places: tuple[GroupedFamily, ...] = ()

    def values(self) -> dict[str, float]:
        """Every value by name, F1@K (harmonic mean of R@K and mR@K) included; what no image counts for is left out."""
        found: dict[str, Floats] = {}
        for family in self.families:
            found.update(zip(family.names, family.values(), strict=True))
        for grouped in self.grouped:
            found.update(zip(grouped.names, grouped.values(), strict=True))
        found.update(harmonic_means(found))
        return {name: float(value) for name, value in found.items() if not np.isnan(value)}


def detection_values(boxes: Sequence[Detections]) -> dict[str, float]:
    """Means over labels with truth of COCO's average precision of the regions.

    detection_mAP50 at IoU 0.5; detection_mAP50_95 the mean over all thresholds, where there are several.
    """
    if not boxes or not (boxes[0].truth > 0).any():
        return {}
    means = [float(np.nanmean(coco_average_precision(found))) for found in boxes]
    return {"detection_mAP50": means[0], **({"detection_mAP50_95": sum(means) / len(means)} if len(means) > 1 else {})}


def precision_values(triplets: Detections | None, predicates: int) -> dict[str, float]:
    """mAP_rel of a convention without scores of its own: the mean over the vocabulary of AP per predicate."""
    if triplets is None or not triplets.truth.sum() or not predicates:
        return {}
    return {"mAP_rel": float(np.nansum(triplet_average_precision(triplets)) / predicates)}


def open_images_values(
    relations: tuple[Detections, Detections] | None, recall: float, predicates: int
) -> dict[str, float]:
    """Open Images' scores: mAP and frequency-weighted mAP of relations and phrases, and 0.4, 0.2, 0.4 with R@50."""
    if relations is None or not relations[0].truth.sum():
        return {}
    truth = relations[0].truth
    relation, phrase = (envelope_average_precision(found) for found in relations)
    share = truth / truth.sum()
    values = {
        "mAP_rel": relation.sum() / predicates,
        "mAP_phr": phrase.sum() / predicates,
        "wmAP_rel": (relation * share).sum(),
        "wmAP_phr": (phrase * share).sum(),
    }
    values["score"] = 0.4 * values["mAP_rel"] + 0.2 * recall + 0.4 * values["mAP_phr"]
    values["score_wtd"] = 0.4 * values["wmAP_rel"] + 0.2 * recall + 0.4 * values["wmAP_phr"]
    return {name: float(value) for name, value in values.items()}


def harmonic_means(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Harmonic means, 0 where both are 0: F1@K of R@K and mR@K, oneF1@K of P@K and oneR@K, node_F1."""
    found: dict[str, Floats] = {}
    for name in values:
        if name == "mR" or name.startswith("mR@"):
            found["F1" + name[2:]] = _harmonic(values[name[1:]], values[name])
        if name == "oneR" or name.startswith("oneR@"):
            found["oneF1" + name[4:]] = _harmonic(values["P" + name[4:]], values[name])
    if "node_P" in values:
        found["node_F1"] = _harmonic(values["node_P"], values["node_R"])
    return found


def _harmonic(first: Floats, second: Floats) -> Floats:
    one, other = np.asarray(first), np.asarray(second)
    total = one + other
    mean: Floats = np.where(total == 0, 0.0, 2 * one * other / np.where(total == 0, 1.0, total))
    return mean


@attrs.frozen(eq=False)
class _Counter:
    """Counts hits of a table at every K, per image and per (image, group)."""

    table: HitTable
    convention: Convention
    ks: tuple[int, ...]
    used: Flags
    relative: bool = False

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(f"{prefix}@{k}" for k in self.ks) if self.convention.ranked and not self.relative else (prefix,)

    def precision(self) -> list[Family]:
        """Precision and recall one to one, and the share of listed triplets with a name outside of the vocabulary.

        Images that list nothing before a cut, as far as they count, have precision 0.
        """
        table, pooled = self.table, self.convention.average == "pooled"
        used = self.used.astype(np.float64)
        truth = np.maximum(table.truth_count, 1).astype(np.float64)
        found: list[Family] = []
        recall = table.taken * used[:, None] / (1.0 if pooled else truth[:, None])
        found.append(Family(self.names("oneR"), recall, truth * used if pooled else used))
        for column, (name, strange) in enumerate(zip(self.names("P"), self.names("invalid_rate"), strict=True)):
            listed = table.listed[:, column].astype(np.float64)
            taken, invalid = table.taken[:, column] * used, table.invalid[:, column].astype(np.float64)
            share = np.divide(taken, listed, out=np.zeros(len(listed)), where=listed > 0)
            found.append(Family((name,), (taken if pooled else share)[:, None], listed * used if pooled else used))
            found.append(Family((strange,), invalid[:, None], listed))
        return found

    def cuts(self) -> tuple[int, ...]:
        return self.ks if self.convention.ranked else (2**31 - 1,)

    def found(self, first: Ints, rows: Flags | None) -> list[Flags]:
        kept = first if rows is None else np.where(rows, first, 2**31 - 1)
        return [kept < cut for cut in self.cuts()]

    def family(self, prefix: str, first: Ints, rows: Flags | None = None, *, pooled: bool) -> Family:
        """Recall over the truth rows selected by `rows`; images without such rows, or not used, do not count."""
        images = len(self.used)
        weights = None if rows is None else rows.astype(np.float64)
        count = np.bincount(self.table.image, weights, images).astype(np.float64)
        image = self.table.image
        sums = np.stack([np.bincount(image, column, images) for column in self.found(first, rows)], axis=1)
        hits: Floats = sums.astype(np.float64, copy=False)  # of no rows at all, bincount counts in integers
        counts = self.used & (count > 0)
        if pooled:
            return Family(self.names(prefix), hits * counts[:, None], np.where(counts, count, 0.0))
        top: Floats = np.divide(hits, count[:, None], out=np.zeros_like(hits), where=counts[:, None])
        return Family(self.names(prefix), top, counts.astype(np.float64))

    def grouped(
        self,
        prefixes: tuple[tuple[str, str], ...],
        firsts: tuple[Ints, ...],
        group: Ints,
        size: int,
        divisor: int,
    ) -> tuple[GroupedFamily, ...]:
        """Per-group recall for several lists over one grouping of the rows of used images; negative groups are out."""
        rows = np.flatnonzero(self.used[self.table.image] & (group >= 0))
        key = self.table.image[rows] * size + group[rows]
        cells, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
        image, member = np.divmod(cells, max(size, 1))
        pooled = self.convention.average == "pooled"
        families = []
        for (mean, plain), first in zip(prefixes, firsts, strict=True):
            hits: Floats = np.stack(
                [np.bincount(inverse, column[rows], len(cells)) for column in self.found(first, None)], axis=1
            )
            top: Floats = hits if pooled else hits / np.maximum(count, 1)[:, None]
            bottom = count.astype(np.float64) if pooled else np.ones(len(cells))
            over_all = self.convention.absent == "zero"
            names, members = self.names(mean), self.names(plain)
            families.append(
                GroupedFamily(
                    names=names,
                    members=members,
                    image=image,
                    group=member,
                    top=top,
                    bottom=bottom,
                    size=size,
                    divisor=divisor,
                    over_all=over_all,
                )
            )
        return tuple(families)


def recall_curves(table: HitTable, measure: Measure) -> dict[str, Floats]:
    """R and ngR at every K from 1 to the largest cut, (K,) each; none where a convention cuts nothing."""
    if not measure.convention.ranked:
        return {}
    counter = _Counter(
        table, measure.convention, tuple(range(1, max(measure.ks) + 1)), _used(table, measure.convention)
    )
    pooled = measure.convention.average == "pooled"
    lists = {"R@K": table.constrained, "ngR@K": table.free}
    return {
        name: counter.family("R", first, pooled=pooled).values() for name, first in lists.items() if first is not None
    }


def _used(table: HitTable, convention: Convention) -> Flags:
    """Which images count."""
    used = table.truth_count > 0
    return used & table.answered if convention.unanswered == "skip" else used


def measure_table(table: HitTable, measure: Measure, predicates: int, divisor: int | None = None) -> Metrics:
    """All metrics of `table`; `predicates`: how many have a code, `divisor`: what mean recall divides by (all)."""
    convention = measure.convention
    used = _used(table, convention)
    counter = _Counter(table, convention, measure.ks, used)
    pooled = convention.average == "pooled"
    lists = [("R", "mR", table.constrained), ("ngR", "ngmR", table.free), ("phrR", "phrmR", table.phrase)]
    measured = [(plain, mean, first) for plain, mean, first in lists if first is not None]
    families = [counter.family(plain, first, pooled=pooled) for plain, _, first in measured]
    if not pooled:
        families.append(counter.family("pooledR", table.constrained, pooled=True))
    if table.zero_shot is not None:
        families.append(counter.family("zR", table.constrained, table.zero_shot, pooled=pooled))
        if table.free is not None:
            families.append(counter.family("ngzR", table.free, table.zero_shot, pooled=pooled))
    if table.paired is not None:
        families.append(counter.family("A", table.paired, pooled=True))
    if table.open is not None:
        families.append(counter.family("openR", table.open, pooled=pooled))
    families += counter.precision()
    ones = np.ones(len(used))
    families.append(Family(("relations_per_image",), table.proposed[:, None].astype(np.float64), ones))
    families.append(Family(("failure_rate",), table.failed[:, None].astype(np.float64), ones))
    if table.nodes is not None:
        right, given, true = table.nodes.astype(np.float64).T
        families += [Family(("node_P",), right[:, None], given), Family(("node_R",), right[:, None], true)]
    means = tuple((mean, plain) for plain, mean, _ in measured)
    firsts = tuple(first for _, _, first in measured)
    divisor = predicates if divisor is None else divisor
    grouped = counter.grouped(means, firsts, table.predicate, predicates, divisor)
    if convention.ranked:
        # Each image cut at as many triplets as it has truth rows: what lies before the cut has rank 0 of a single one.
        relative = np.where(table.constrained < table.truth_count[table.image], 0, 2**31 - 1)
        as_one = attrs.evolve(counter, ks=(1,), relative=True)
        families.append(as_one.family("relR", relative, pooled=pooled))
        grouped += as_one.grouped((("relmR", "relR"),), (relative,), table.predicate, predicates, divisor)
    category = table.category.astype(np.int64)
    kinds = len(CATEGORIES)
    (by_category,) = counter.grouped((("mR", "R"),), (table.constrained,), category, kinds, kinds)
    places = []
    for group, names in ((table.distance, DISTANCES), (table.size, SIZES), (table.novelty, NOVELTIES)):
        if group is not None:
            count = len(names)
            places += counter.grouped((("mR", "R"),), (table.constrained,), group.astype(np.int64), count, count)
    return Metrics(families=tuple(families), grouped=grouped, categories=by_category, used=used, places=tuple(places))
