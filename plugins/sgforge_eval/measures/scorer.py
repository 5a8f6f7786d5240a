"""Batches in, one table of hits out: what every recall, its tables and its intervals are counted from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge.matching import BoxLocalizer, Localizer, equal_keys, first_hit
from sgforge.stages import Mode
from sgforge_eval.intake.arrays import Flags, Floats, Ints, concat_rows, take_rows
from sgforge_eval.intake.batch import Dense, EvalBatch, Listed, offsets_of
from sgforge_eval.measures.average_precision import (
    Detections,
    box_detections,
    one_to_one,
    relation_detections,
    triplet_detections,
)
from sgforge_eval.measures.conventions import Convention
from sgforge_eval.measures.groups import novelties, pair_distances, pair_sizes
from sgforge_eval.measures.ranking import Ranked, Rankings, rank_predictions, rank_within
from sgforge_eval.measures.single import AssignedLocalizer, one_region_an_object
from sgforge_eval.measures.triplets import TripletJoin, unique_truth
from sgforge_eval.measures.weighted import weights_of_images

__all__ = ["COCO_THRESHOLDS", "HitTable", "Measure", "Scorer", "triplet_codes"]

COCO_THRESHOLDS: Final = tuple(float(value) for value in np.linspace(0.5, 0.95, 10))
"""IoU from 0.5 to 0.95 in steps of 0.05, over which COCO takes its mean."""
_EVERY = 2**31 - 2
"""The cut where a convention has none: every listed triplet."""


@attrs.frozen(eq=False)
class Measure:
    """What to measure and how.

    `ks` ascending cuts. `zero_shot` gives the codes (`triplet_codes`) of triplets never trained on, as far as their
    names have codes by now; None if not asked. `in_order`: predictions are ranked as listed. `free`, `phrases`,
    `detection`: also without graph constraint, also phrases, also the mean average precision of the regions themselves,
    at these `thresholds` of IoU (0.5 first). `entails` gives (n, 2) codes of predicates of which the first also finds
    the second. `seen` gives the codes of labels and of predicates that a model was trained on, for recall of names seen
    and unseen.
    """

    mode: Mode
    convention: Convention
    ks: tuple[int, ...] = (20, 50, 100)
    zero_shot: Callable[[], Ints] | None = None
    in_order: bool = False
    free: bool = True
    phrases: bool = True
    detection: bool = True
    thresholds: tuple[float, ...] = (0.5,)
    entails: Callable[[], Ints] | None = None
    seen: Callable[[], tuple[Ints, Ints]] | None = None

    @classmethod
    def of(
        cls,
        mode: Mode,
        convention: Convention,
        k: Sequence[int],
        *,
        localization: Literal["box", "mask"] = "box",
        zero_shot: Callable[[], Ints] | None = None,
        in_order: bool = False,
        thresholds: tuple[float, ...] = (0.5,),
        entails: Callable[[], Ints] | None = None,
        seen: Callable[[], tuple[Ints, Ints]] | None = None,
    ) -> Measure:
        """A measure at the cuts `k` and those the convention's own scores need, in order.

        Detection is measured by box only; a convention whose scores need boxes is a `ConfigError` by mask, and one that
        always sorts is one as listed.
        """
        if convention.average_precision and in_order:
            raise ConfigError(f"convention {convention.name} always ranks by score: leave out --in-order")
        if convention.average_precision and localization == "mask":
            raise ConfigError(f"convention {convention.name} is defined by box: it has no scores by mask")
        needed = {50} if convention.average_precision else set()
        return cls(
            mode,
            convention,
            tuple(sorted({*k, *needed})),
            zero_shot=zero_shot,
            in_order=in_order,
            detection=localization == "box",
            thresholds=thresholds,
            entails=entails,
            seen=seen,
        )

    @property
    def limit(self) -> int:
        """How many triplets of an image are looked at."""
        return max(self.ks) if self.convention.ranked else _EVERY


@attrs.frozen(eq=False)
class HitTable:
    """One row per truth triplet with the first rank that finds it in each list, NEVER (2**31 - 1) where none does.

    `image`, `predicate`, `category`, `zero_shot` (R,) describe the row; `constrained`, `free`, `phrase`, `paired`,
    `open` (R,) int32 are first ranks, None where not measured. `truth_count`, `answered`, `failed` (N,) describe the
    images; so do `proposed` (N,), how many relations are proposed in all, `listed` and `taken` (N, K), how many
    constrained triplets stand before each cut and how many of them find a truth row one to one, `invalid` (N, K), how
    many of them have a name without a code, `weighted` (N, K), the weights of those that find any, and `nodes` (N, 4):
    regions right, predicted, true, and predicted without a name that has a code. `distance`, `size`, `novelty` (R,)
    int8 put truth rows into the groups of `measures.groups`.
    """

    image: Ints
    predicate: Ints
    category: Ints
    zero_shot: Flags | None
    constrained: Ints
    free: Ints | None
    phrase: Ints | None
    paired: Ints | None
    open: Ints | None
    truth_count: Ints
    answered: Flags
    failed: Flags
    proposed: Ints
    listed: Ints
    taken: Ints
    invalid: Ints
    weighted: Floats | None
    nodes: Ints | None
    distance: Ints
    size: Ints
    novelty: Ints | None


_OF_IMAGES = ("truth_count", "answered", "failed", "proposed", "listed", "taken", "invalid", "weighted", "nodes")


def triplet_codes(subject: Ints, predicate: Ints, object_: Ints) -> Ints:
    """One number per (subject label, predicate, object label) code; -1 where one of them is -1."""
    known = (subject >= 0) & (predicate >= 0) & (object_ >= 0)
    # 21 bits a code: two million names.
    return np.where(known, (subject << 42) | (predicate << 21) | object_, -1)


class Scorer:
    """Scores batch after batch; holds a few bytes per truth triplet and image, never the predictions."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self._parts: list[HitTable] = []
        self._ordinals: list[Ints] = []
        self._boxes: list[list[Detections]] = []
        self._triplets: list[Detections] = []
        self._relations: list[tuple[Detections, Detections]] = []

    def add(self, batch: EvalBatch, localizer: Localizer | None = None) -> None:
        """Score one batch; `localizer` defaults to boxes in the convention's pixel rule."""
        measure, convention = self.measure, self.measure.convention
        if convention.duplicates == "drop":
            batch = attrs.evolve(batch, truth=batch.truth.rows(unique_truth(batch.truth)))
        plain = localizer
        if plain is None:
            plain = BoxLocalizer(
                batch.truth.objects.boxes, batch.predictions.objects.boxes, convention.pixels, strict=convention.strict
            )
        given = batch
        if convention.single:
            localizer = AssignedLocalizer(batch, localizer)
            batch = one_region_an_object(batch)
        else:
            localizer = plain
        rankings = rank_predictions(
            batch.predictions,
            self._limit(batch),
            pair_limit=convention.pair_limit,
            free=measure.free and convention.ranked,
            in_order=measure.in_order,
        )
        if convention.least_score:
            listed = rankings.constrained
            rankings = attrs.evolve(rankings, constrained=take_rows(listed, listed.score > convention.least_score))
        ordinal = batch.ordinal
        if ordinal is None:
            seen = sum(map(len, self._ordinals))
            ordinal = np.arange(seen, seen + batch.count)
            batch = attrs.evolve(batch, ordinal=ordinal)
        nodes = None
        if measure.detection and measure.mode != "predcls":
            found = [box_detections(batch, convention, least) for least in measure.thresholds]
            nodes = _nodes(batch, found[0])
            self._boxes.append(found)
        if convention.average_precision:
            self._relations.append(relation_detections(batch, rankings.constrained, convention))
        table = self._hits(batch, rankings, localizer, ordinal)
        opened = self._opened(given, plain) if convention.single else None
        self._parts.append(attrs.evolve(table, nodes=nodes, open=opened))
        self._ordinals.append(ordinal)

    def _limit(self, batch: EvalBatch) -> int:
        """How many triplets of an image are looked at: as many as the largest cut, and as it has truth rows."""
        most = int(np.bincount(batch.truth.image, minlength=1).max(initial=0))
        return max(self.measure.limit, most)

    def _opened(self, batch: EvalBatch, localizer: Localizer) -> Ints:
        """First ranks where an object may be listed as often as a model likes, each pair with its own predicate."""
        listed = rank_predictions(
            batch.predictions, self.measure.limit, free=False, in_order=self.measure.in_order
        ).constrained
        join, rows = self._joined(batch, listed)
        matched = join.both_regions(localizer)
        return first_hit(len(batch.truth.image), join.truth_rows[matched], listed.rank[rows[matched]])

    def _cuts(self) -> tuple[int, ...]:
        return self.measure.ks if self.measure.convention.ranked else (_EVERY,)

    def _hits(self, batch: EvalBatch, rankings: Rankings, localizer: Localizer, ordinal: Ints) -> HitTable:
        truth, size = batch.truth, len(batch.truth.image)
        phrases = self.measure.phrases and self.measure.mode == "sgdet"
        lists = [rankings.constrained] + ([rankings.free] if rankings.free is not None else [])
        joined = concat_rows(lists)
        join, listed = self._joined(batch, joined)
        rows = join.truth_rows
        matched = join.both_regions(localizer)
        is_free = listed >= len(rankings.constrained.rank)

        def first(which: Flags) -> Ints:
            return first_hit(size, rows[which], joined.rank[listed[which]])

        own = rankings.constrained
        kept = matched & ~is_free
        taken = one_to_one(rows[kept], listed[kept], joined.rank, size)[: len(own.rank)]
        self._triplets.append(triplet_detections(batch, own, taken))
        said = batch.predictions.objects.labels
        strange = (own.predicate < 0) | (said[own.subject] < 0) | (said[own.object] < 0)

        def per_image(which: Flags) -> Ints:
            counts = [np.bincount(own.image[which & (own.rank < k)], minlength=batch.count) for k in self._cuts()]
            return np.stack(counts, axis=1)

        labels = truth.objects.labels.astype(np.int64)
        codes = triplet_codes(labels[truth.subject], truth.predicate, labels[truth.object])
        return HitTable(
            image=ordinal[truth.image].astype(np.int32),
            predicate=truth.predicate.astype(np.int32),
            category=truth.category,
            zero_shot=None if self.measure.zero_shot is None else np.isin(codes, self.measure.zero_shot()),
            constrained=first(kept),
            free=first(matched & is_free) if rankings.free is not None else None,
            phrase=first(join.phrases(localizer) & ~is_free) if phrases else None,
            paired=self._paired(batch, rankings.constrained, localizer) if batch.aligned else None,
            truth_count=np.bincount(truth.image, minlength=batch.count),
            answered=rankings.answered & ~batch.failed,
            failed=batch.failed,
            open=None,
            proposed=batch.predictions.proposed,
            listed=per_image(np.ones(len(own.rank), bool)),
            taken=per_image(taken),
            invalid=per_image(strange),
            weighted=self._weighted(batch, own, listed[kept]),
            nodes=None,
            distance=pair_distances(truth),
            size=pair_sizes(truth),
            novelty=None if self.measure.seen is None else novelties(truth, *self.measure.seen()),
        )

    def _weighted(self, batch: EvalBatch, listed: Ranked, right: Ints) -> Floats | None:
        """(N, K) weights of the listed triplets `right`, where a convention weighs them."""
        if not self.measure.convention.weighted:
            return None
        rows = np.unique(right)
        return weights_of_images(listed.image[rows], listed.rank[rows], batch.count, self._cuts())

    def _paired(self, batch: EvalBatch, listed: Ranked, localizer: Localizer) -> Ints:
        """First ranks when only pairs that the truth relates are listed (pair accuracy).

        `listed` is the constrained ranking of all pairs: where a convention cuts before it looks at pairs, the ranks
        are those.
        """
        size = len(batch.truth.image)
        if self.measure.convention.pairs_after_cut:
            span = max(len(batch.predictions.objects.labels), 1)
            related = batch.truth.subject * span + batch.truth.object
            kept, ranking = batch, take_rows(listed, np.isin(listed.subject * span + listed.object, related))
        else:
            kept = attrs.evolve(batch, predictions=_true_pairs_only(batch))
            ranking = rank_predictions(
                kept.predictions, self.measure.limit, free=False, in_order=self.measure.in_order
            ).constrained
        join, rows = self._joined(kept, ranking)
        matched = join.both_regions(localizer)
        return first_hit(size, join.truth_rows[matched], ranking.rank[rows[matched]])

    def _joined(self, batch: EvalBatch, listed: Ranked) -> tuple[TripletJoin, Ints]:
        """Truth rows and listed triplets whose names agree, or whose predicate entails the true one, and their rows."""
        rows = np.arange(len(listed.rank))
        pairs = None if self.measure.entails is None else self.measure.entails()
        if pairs is not None and len(pairs):
            said, more = equal_keys(pairs[:, 0], listed.predicate)
            rows = np.concatenate([rows, more])
            wider = take_rows(listed, rows)
            predicate = wider.predicate.copy()
            predicate[len(listed.rank) :] = pairs[said, 1]
            listed = attrs.evolve(wider, predicate=predicate)
        join = TripletJoin(batch, listed)
        return join, rows[join.listed_rows]

    @property
    def is_empty(self) -> bool:
        """Whether no batch was added, so that there is nothing to report."""
        return not self._parts

    @property
    def boxes(self) -> list[Detections]:
        """The detected regions of all batches at each threshold; none if they were not measured."""
        return [Detections.concat(parts) for parts in zip(*self._boxes, strict=True)]

    @property
    def triplets(self) -> Detections | None:
        """The listed triplets of all batches as detections, None before any."""
        return Detections.concat(self._triplets) if self._triplets else None

    @property
    def relations(self) -> tuple[Detections, Detections] | None:
        """The detected relations and phrases of all batches, None if the convention has no average precision."""
        if not self._relations:
            return None
        relations, phrases = zip(*self._relations, strict=True)
        return Detections.concat(relations), Detections.concat(phrases)

    def table(self) -> HitTable:
        """All batches so far as one table, images in the order of their ordinals; at least one batch must be there."""
        parts = self._parts
        order = np.argsort(np.concatenate(self._ordinals), kind="stable")
        table = concat_rows(parts)
        columns = {name: getattr(table, name) for name in _OF_IMAGES}
        table = attrs.evolve(table, **{name: part[order] for name, part in columns.items() if part is not None})
        # The whole takes the place of its parts: millions of rows are held once.
        self._parts, self._ordinals = [table], [np.arange(len(order))]
        return table


def _nodes(batch: EvalBatch, found: Detections) -> Ints:
    """(N, 4) regions found right one to one, predicted, true ones with a label, and predicted ones without a code."""
    ordinal = np.arange(batch.count) if batch.ordinal is None else batch.ordinal
    place = np.searchsorted(np.sort(ordinal), np.concatenate([found.image[found.right], found.lost]))
    right = np.bincount(np.argsort(ordinal, kind="stable")[place], minlength=batch.count)
    true = batch.truth.objects
    image = np.repeat(np.arange(batch.count), np.diff(true.offsets))
    labelled = np.bincount(image[true.labels >= 0], minlength=batch.count)
    given = batch.predictions.objects
    # What takes no part, a rejected region for one, has neither a place nor a name.
    shown = (given.labels >= 0) | ~np.isnan(given.boxes).any(axis=1)
    places = np.repeat(np.arange(batch.count), np.diff(given.offsets))
    predicted = np.bincount(places[shown], minlength=batch.count)
    strange = np.bincount(places[shown & (given.labels < 0)], minlength=batch.count)
    return np.stack([right, predicted, labelled, strange], axis=1)


def _true_pairs_only(batch: EvalBatch) -> Dense | Listed:
    """The predictions for pairs of regions that the truth relates; predicted and truth objects are the same rows."""
    predictions = batch.predictions
    span = max(len(predictions.objects.labels), 1)
    related = np.unique(batch.truth.subject * span + batch.truth.object)
    _, kept = equal_keys(related, predictions.subject * span + predictions.object)
    image, _ = rank_within(predictions.offsets)
    return predictions.rows(np.sort(kept), offsets_of(np.bincount(image[kept], minlength=batch.count)))
