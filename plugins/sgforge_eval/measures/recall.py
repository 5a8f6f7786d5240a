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
from sgforge_eval.measures.weighted import row_weights

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

    `places`: constrained recall by distance, by size ratio, and where asked for by names seen in training. `whole`: of
    some conventions, recall per predicate over all truth rows at once.

    The families of `grouped` have the same rows: `image`, `group` and `bottom` are equal.
    """

    families: tuple[Family, ...]
    grouped: tuple[GroupedFamily, ...]
    categories: GroupedFamily
    used: Flags
    places: tuple[GroupedFamily, ...] = ()
    whole: tuple[GroupedFamily, ...] = ()

    def values(self) -> dict[str, float]:
        """Every value by name, F1@K (harmonic mean of R@K and mR@K) included; what no image counts for is left out."""
        found: dict[str, Floats] = {}
        for family in self.families:
            found.update(zip(family.names, family.values(), strict=True))
        for grouped in (*self.grouped, *self.whole):
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
        columns: tuple[list[Flags] | list[Floats], ...],
        group: Ints,
        size: int,
        divisor: int,
    ) -> tuple[GroupedFamily, ...]:
        """Per-group recall for several lists over one grouping of the rows of used images; negative groups are out.

        `columns`: of each list, at every K, what each truth row counts: whether it is found, or a weight.
        """
        rows = np.flatnonzero(self.used[self.table.image] & (group >= 0))
        key = self.table.image[rows] * size + group[rows]
        cells, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
        image, member = np.divmod(cells, max(size, 1))
        pooled = self.convention.average == "pooled"
        families = []
        for (mean, plain), counted in zip(prefixes, columns, strict=True):
            hits: Floats = np.stack([np.bincount(inverse, column[rows], len(cells)) for column in counted], axis=1)
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

    def groups(self, group: Ints, size: int) -> tuple[GroupedFamily, ...]:
        """Constrained recall of each of `size` groups."""
        return self.grouped((("mR", "R"),), (self.found(self.table.constrained, None),), group, size, size)

    def lists(self) -> list[tuple[str, str, Ints]]:
        """The measured lists: names of recall and of mean recall, first ranks."""
        table = self.table
        lists = [("R", "mR", table.constrained), ("ngR", "ngmR", table.free), ("phrR", "phrmR", table.phrase)]
        return [(plain, mean, first) for plain, mean, first in lists if first is not None]

    def families(self) -> list[Family]:
        """What is a ratio of sums over images."""
        table, pooled = self.table, self.convention.average == "pooled"
        found = [self.family(plain, first, pooled=pooled) for plain, _, first in self.lists()]
        if not pooled:
            found.append(self.family("pooledR", table.constrained, pooled=True))
        if table.zero_shot is not None:
            found.append(self.family("zR", table.constrained, table.zero_shot, pooled=pooled))
            if table.free is not None:
                found.append(self.family("ngzR", table.free, table.zero_shot, pooled=pooled))
        if table.paired is not None:
            found.append(self.family("A", table.paired, pooled=True))
        if table.open is not None:
            found.append(self.family("openR", table.open, pooled=pooled))
        if self.convention.ranked:
            found.append(self._as_relative().family("relR", self._relative(), pooled=pooled))
        return [*found, *self.precision(), *self._weighted(), *self._of_images()]

    def _weighted(self) -> list[Family]:
        if self.table.weighted is None:
            return []
        used = self.used.astype(np.float64)
        share = self.table.weighted / np.maximum(self.table.truth_count, 1)[:, None]
        return [Family(self.names("wR"), share * used[:, None], used)]

    def _of_images(self) -> list[Family]:
        """What images propose and whether they failed; regions one to one, and the share of them without a name."""
        table, ones = self.table, np.ones(len(self.used))
        found = [
            Family(("relations_per_image",), table.proposed[:, None].astype(np.float64), ones),
            Family(("failure_rate",), table.failed[:, None].astype(np.float64), ones),
        ]
        if table.nodes is not None:
            right, given, true, strange = table.nodes.astype(np.float64).T
            found += [Family(("node_P",), right[:, None], given), Family(("node_R",), right[:, None], true)]
            found.append(Family(("node_invalid_rate",), strange[:, None], given))
        return found

    def means(self, predicates: int, divisor: int) -> tuple[GroupedFamily, ...]:
        """Recall per predicate, and its mean, of every list; also at as many triplets as an image has truth rows."""
        lists, predicate = self.lists(), self.table.predicate
        names = tuple((mean, plain) for plain, mean, _ in lists)
        columns: list[list[Flags] | list[Floats]] = [self.found(first, None) for _, _, first in lists]
        if self.convention.weighted:
            names += (("wmR", "wR"),)
            found = zip(columns[0], self.cuts(), strict=True)
            columns.append([row_weights(self.table.image, flags, cut) for flags, cut in found])
        grouped = self.grouped(names, tuple(columns), predicate, predicates, divisor)
        if self.convention.ranked:
            relative = self._as_relative()
            columns = [relative.found(self._relative(), None)]
            grouped += relative.grouped((("relmR", "relR"),), tuple(columns), predicate, predicates, divisor)
        return grouped

    def whole(self, predicates: int, divisor: int) -> tuple[GroupedFamily, ...]:
        """Recall per predicate pooled over all images, of a convention that has it beside the mean over images."""
        if not self.convention.whole:
            return ()
        pooled = attrs.evolve(self, convention=attrs.evolve(self.convention, average="pooled"))
        columns = (self.found(self.table.constrained, None),)
        return pooled.grouped((("pooledmR", "pooledR"),), columns, self.table.predicate, predicates, divisor)

    def _as_relative(self) -> _Counter:
        return attrs.evolve(self, ks=(1,), relative=True)

    def _relative(self) -> Ints:
        """Ranks where each image is cut at its number of truth rows: what lies before has rank 0, of a single one."""
        limit = self.table.truth_count[self.table.image]
        return np.where(self.table.constrained < limit, 0, 2**31 - 1)


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
    counter = _Counter(table, measure.convention, measure.ks, _used(table, measure.convention))
    divisor = predicates if divisor is None else divisor
    (by_category,) = counter.groups(table.category.astype(np.int64), len(CATEGORIES))
    kinds = ((table.distance, DISTANCES), (table.size, SIZES), (table.novelty, NOVELTIES))
    places = [counter.groups(group.astype(np.int64), len(names))[0] for group, names in kinds if group is not None]
    return Metrics(
        families=tuple(counter.families()),
        grouped=counter.means(predicates, divisor),
        categories=by_category,
        used=counter.used,
        places=tuple(places),
        whole=counter.whole(predicates, divisor),
    )
