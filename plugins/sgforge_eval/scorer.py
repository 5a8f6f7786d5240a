"""Batches in, one table of hits out: what every recall, its tables and its intervals are counted from."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.stages import Mode
from sgforge_eval.batch import Dense, EvalBatch, Listed, offsets_of
from sgforge_eval.conventions import Convention
from sgforge_eval.matching import BoxLocalizer, Localizer, TripletJoin, equal_keys, first_hit, unique_truth
from sgforge_eval.ranking import Ranked, Rankings, rank_predictions, rank_within

__all__ = ["HitTable", "Measure", "Scorer", "triplet_codes"]

_EVERY = 2**31 - 2
"""The cut where a convention has none: every listed triplet."""


@attrs.frozen(eq=False)
class Measure:
    """What to measure and how.

    `ks` ascending cuts. `zero_shot`: sorted codes (`triplet_codes`) of triplets never trained on, None if not asked.
    `in_order`: predictions are ranked as listed. `free`, `phrases`: also without graph constraint, also phrases.
    """

    mode: Mode
    convention: Convention
    ks: tuple[int, ...] = (20, 50, 100)
    zero_shot: NDArray[np.int64] | None = None
    in_order: bool = False
    free: bool = True
    phrases: bool = True

    @property
    def limit(self) -> int:
        """How many triplets of an image are looked at."""
        return max(self.ks) if self.convention.ranked else _EVERY


@attrs.frozen(eq=False)
class HitTable:
    """One row per truth triplet with the first rank that finds it in each list, NEVER (2**31 - 1) where none does.

    `image`, `predicate`, `category`, `zero_shot` (R,) describe the row; `constrained`, `free`, `phrase`, `paired` (R,)
    int32 are first ranks, None where not measured. `truth_count`, `answered`, `failed` (N,) describe the images.
    """

    image: NDArray[np.int64]
    predicate: NDArray[np.int64]
    category: NDArray[np.uint8]
    zero_shot: NDArray[np.bool_] | None
    constrained: NDArray[np.int32]
    free: NDArray[np.int32] | None
    phrase: NDArray[np.int32] | None
    paired: NDArray[np.int32] | None
    truth_count: NDArray[np.int64]
    answered: NDArray[np.bool_]
    failed: NDArray[np.bool_]


def triplet_codes(
    subject: NDArray[np.int64], predicate: NDArray[np.int64], object_: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One number per (subject label, predicate, object label) code; -1 where one of them is -1."""
    known = (subject >= 0) & (predicate >= 0) & (object_ >= 0)
    # 21 bits a code: two million names.
    return np.where(known, (subject << 42) | (predicate << 21) | object_, -1)


class Scorer:
    """Scores batch after batch; holds a few bytes per truth triplet and image, never the predictions."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self._parts: list[HitTable] = []
        self._images = 0

    def add(self, batch: EvalBatch, localizer: Localizer | None = None) -> None:
        """Score one batch; `localizer` defaults to boxes in the convention's pixel rule."""
        measure, convention = self.measure, self.measure.convention
        if convention.duplicates == "drop":
            batch = attrs.evolve(batch, truth=batch.truth.rows(unique_truth(batch.truth)))
        if localizer is None:
            localizer = BoxLocalizer(batch.truth.objects, batch.predictions.objects, convention)
        rankings = rank_predictions(
            batch.predictions,
            measure.limit,
            pair_limit=convention.pair_limit,
            free=measure.free and convention.ranked,
            in_order=measure.in_order,
        )
        self._parts.append(self._hits(batch, rankings, localizer))
        self._images += batch.count

    def _hits(self, batch: EvalBatch, rankings: Rankings, localizer: Localizer) -> HitTable:
        truth, size = batch.truth, len(batch.truth.image)
        phrases = self.measure.phrases and self.measure.mode == "sgdet"
        lists = [rankings.constrained] + ([rankings.free] if rankings.free is not None else [])
        joined = _joined(lists)
        join = TripletJoin(batch, joined)
        listed, rows = join.listed_rows, join.truth_rows
        matched = join.both_regions(localizer)
        is_free = listed >= len(rankings.constrained.rank)

        def first(which: NDArray[np.bool_]) -> NDArray[np.int32]:
            return first_hit(size, rows[which], joined.rank[listed[which]])

        labels = truth.objects.labels.astype(np.int64)
        codes = triplet_codes(labels[truth.subject], truth.predicate, labels[truth.object])
        return HitTable(
            image=truth.image + self._images,
            predicate=truth.predicate,
            category=truth.category,
            zero_shot=None if self.measure.zero_shot is None else np.isin(codes, self.measure.zero_shot),
            constrained=first(matched & ~is_free),
            free=first(matched & is_free) if rankings.free is not None else None,
            phrase=first(join.phrases(localizer) & ~is_free) if phrases else None,
            paired=self._paired(batch, localizer) if batch.aligned else None,
            truth_count=np.bincount(truth.image, minlength=batch.count),
            answered=rankings.answered & ~batch.failed,
            failed=batch.failed,
        )

    def _paired(self, batch: EvalBatch, localizer: Localizer) -> NDArray[np.int32]:
        """First ranks when only pairs that the truth relates are listed (pair accuracy)."""
        size = len(batch.truth.image)
        kept = attrs.evolve(batch, predictions=_true_pairs_only(batch))
        ranking = rank_predictions(
            kept.predictions, self.measure.limit, free=False, in_order=self.measure.in_order
        ).constrained
        join = TripletJoin(kept, ranking)
        matched = join.both_regions(localizer)
        return first_hit(size, join.truth_rows[matched], ranking.rank[join.listed_rows[matched]])

    def table(self) -> HitTable:
        """All batches so far as one table; at least one batch must have been added."""
        return HitTable(
            *(_stacked([getattr(part, field.name) for part in self._parts]) for field in attrs.fields(HitTable))
        )


def _true_pairs_only(batch: EvalBatch) -> Dense | Listed:
    """The predictions for pairs of regions that the truth relates; predicted and truth objects are the same rows."""
    predictions = batch.predictions
    span = max(len(predictions.objects.labels), 1)
    related = np.unique(batch.truth.subject * span + batch.truth.object)
    _, kept = equal_keys(related, predictions.subject * span + predictions.object)
    image, _ = rank_within(predictions.offsets)
    return attrs.evolve(
        predictions,
        offsets=offsets_of(np.bincount(image[kept], minlength=batch.count)),
        subject=predictions.subject[kept],
        object=predictions.object[kept],
        scores=predictions.scores[kept],
        **({"predicate": predictions.predicate[kept]} if isinstance(predictions, Listed) else {}),
    )


def _joined(lists: Sequence[Ranked]) -> Ranked:
    return Ranked(
        *(np.concatenate([getattr(ranked, field.name) for ranked in lists]) for field in attrs.fields(Ranked))
    )


def _stacked(parts: Sequence[NDArray[np.generic] | None]) -> NDArray[np.generic] | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None
