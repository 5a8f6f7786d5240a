"""Truth and predictions met image by image, whatever order either side comes in, as batches for the scorer.

Both sides are read a chunk in turn and images that have met leave at once, so two files in like order stay in memory
for a chunk only. What never meets is reported: truth without a prediction is scored as answered by nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest

import attrs
import numpy as np

from sgforge.stages import Mode
from sgforge_eval.intake.alignment import align_regions
from sgforge_eval.intake.arrays import Ints
from sgforge_eval.intake.batch import Dense, EvalBatch, Listed, Objects, Truth, offsets_of
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.side import Side, take_masks
from sgforge_eval.intake.tables import RelationRows, table_of_rows

__all__ = ["Meeting", "Met", "batch_of", "gathered"]

_NAMED = 10
_IMAGES = 1024  # and
_CELLS = 1 << 22  # scores that are put together at most


def gathered(sides: Iterable[Side]) -> Iterator[Side]:
    """Small sides with full distributions put together, so that they are scored many images at once."""
    pending: list[Side] = []
    cells = 0
    for side in sides:
        own = side.table.scores.size if side.table is not None else len(side.subject)
        if pending and cells + own > _CELLS:
            yield Side.concat(pending)
            pending, cells = [], 0
        pending.append(side)
        cells += own
        if sum(map(len, pending)) >= _IMAGES:
            yield Side.concat(pending)
            pending, cells = [], 0
    if pending:
        yield Side.concat(pending)


@attrs.frozen(eq=False)
class Met:
    """Images of both sides, row for row; `ordinal` (N,) is each image's place among all truth images."""

    truth: Side
    prediction: Side
    ordinal: Ints


@attrs.define(eq=False)
class _Waiting:
    """Images of one side that have not met their counterpart: parts as they came, and where each image lies."""

    parts: dict[int, Side] = attrs.field(factory=dict)
    ordinals: dict[int, Ints] = attrs.field(factory=dict)
    where: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    left: Counter[int] = attrs.field(factory=Counter)
    count: int = 0

    def add(self, side: Side, ordinal: Ints) -> None:
        part, self.count = self.count, self.count + 1
        self.parts[part], self.ordinals[part], self.left[part] = side, ordinal, len(side)
        self.where.update((image_id, (part, row)) for row, image_id in enumerate(side.ids))

    def take(self, ids: Sequence[str]) -> tuple[Side, Ints]:
        """These images, in this order, which wait no longer."""
        places = np.array([self.where.pop(image_id) for image_id in ids], np.int64)
        order = np.argsort(places[:, 0], kind="stable")
        sides, ordinals = [], []
        for part in np.unique(places[:, 0]).tolist():
            rows = places[places[:, 0] == part, 1]
            sides.append(self.parts[part].take(rows))
            ordinals.append(self.ordinals[part][rows])
            self.left[part] -= len(rows)
            if not self.left[part]:
                del self.parts[part], self.ordinals[part]
        side = Side.concat(sides)
        if len(sides) > 1:
            side = side.take(np.argsort(order, kind="stable"))
        return side, np.concatenate(ordinals)[np.argsort(order, kind="stable")]


@attrs.define(eq=False)
class Meeting:
    """Pairs two streams of sides; after `batches` has run, `missing` and `unknown` count and name what never met."""

    missing: int = 0
    unknown: int = 0
    named_missing: tuple[str, ...] = ()
    named_unknown: tuple[str, ...] = ()
    images: int = 0

    def batches(self, truths: Iterable[Side], predictions: Iterable[Side]) -> Iterator[Met]:
        """Images as they meet; at the end the truth images without a prediction, answered by nothing."""
        truth, prediction = _Waiting(), _Waiting()
        for true, predicted in zip_longest(truths, predictions):
            if true is not None and len(true):
                truth.add(true, np.arange(self.images, self.images + len(true)))
                self.images += len(true)
            if predicted is not None and len(predicted):
                prediction.add(predicted, np.zeros(len(predicted), np.int64))
            newcomers = [side for side in (true, predicted) if side is not None]
            ids = list(
                dict.fromkeys(
                    image_id
                    for side in newcomers
                    for image_id in side.ids
                    if image_id in truth.where and image_id in prediction.where
                )
            )
            if ids:
                side, ordinal = truth.take(ids)
                yield Met(side, prediction.take(ids)[0], ordinal)
        self.unknown, self.named_unknown = len(prediction.where), tuple(islice(prediction.where, _NAMED))
        self.missing, self.named_missing = len(truth.where), tuple(islice(truth.where, _NAMED))
        for part in list(truth.parts):
            ids = [image_id for image_id, place in truth.where.items() if place[0] == part]
            side, ordinal = truth.take(ids)
            yield Met(side, _nothing_for(side), ordinal)


def _nothing_for(truth: Side) -> Side:
    """Predictions for these images that hold no region and no relation."""
    none = np.zeros(len(truth) + 1, np.int64)
    return attrs.evolve(
        truth,
        region_offsets=none,
        relation_offsets=none,
        boxes=truth.boxes[:0],
        labels=truth.labels[:0],
        region_scores=truth.region_scores[:0],
        subject=truth.subject[:0],
        object=truth.object[:0],
        predicates=truth.predicates[:0],
        scores=truth.scores[:0],
        category=truth.category[:0],
        failed=[None] * len(truth),
        masks=None if truth.masks is None else take_masks(truth.masks, np.zeros(0, np.int64)),
        table=None,
    )


def _objects(side: Side) -> Objects:
    return Objects(side.region_offsets, side.boxes, side.labels, side.region_scores)


def _truth(side: Side) -> Truth:
    image = np.repeat(np.arange(len(side)), np.diff(side.relation_offsets))
    start = side.region_offsets[image]
    return Truth(
        objects=_objects(side),
        image=image,
        subject=start + side.subject,
        object=start + side.object,
        predicate=side.predicates.astype(np.int64),
        category=side.category,
    )


def batch_of(met: Met, mode: Mode, labels: int, predicates: int, dropped: Dropped) -> EvalBatch:
    """The batch of images that met; what does not fit the truth's regions is counted in `dropped`.

    In sgcls and predcls the regions are the truth's: each predicted one stands for one of them (`align_regions`); sgcls
    takes labels and scores of the predicted regions, predcls nothing.
    """
    truth, side = _truth(met.truth), met.prediction
    failed = np.fromiter((reason is not None for reason in side.failed), bool, len(side))
    objects = _objects(side)
    table = side.table if side.table is not None else table_of_rows(_rows(side))
    offsets = side.relation_offsets if table is None else table.offsets
    local = (side.subject, side.object) if table is None else (table.subject, table.object)
    image = np.repeat(np.arange(len(side)), np.diff(offsets))
    start = objects.offsets[image]
    subject, target = start + local[0], start + local[1]
    pointless = np.zeros(len(image), bool)
    if mode != "sgdet":
        if mode == "predcls":
            truth = attrs.evolve(truth, objects=_all_named(truth.objects, labels))
        given = np.diff(side.region_offsets)
        uneven = (given > 0) & (given != np.diff(met.truth.region_offsets)) & ~failed
        dropped.add("prediction: image with more or fewer regions than the truth", int(uneven.sum()))
        stands = align_regions(truth.objects, objects, failed, dropped, side.ids, named=mode == "predcls").rows
        objects = _aligned(truth.objects, objects, stands, take_names=mode == "sgcls")
        subject, target = stands[subject], stands[target]
        pointless = (subject < 0) | (target < 0)
        dropped.add("prediction: relation of a region that is none of the truth's", int(pointless.sum()))
    predictions: Dense | Listed
    if table is None:
        predictions = Listed(
            objects=objects,
            offsets=offsets,
            subject=subject,
            object=target,
            predicate=side.predicates.astype(np.int64),
            scores=side.scores,
        )
    else:
        predictions = Dense(
            objects=objects,
            offsets=offsets,
            subject=subject,
            object=target,
            scores=table.scores,
            columns=table.columns,
        )
    if pointless.any():
        kept = np.flatnonzero(~pointless)
        predictions = predictions.rows(kept, offsets_of(np.bincount(image[kept], minlength=len(side))))
    return EvalBatch(
        count=len(side),
        truth=truth,
        predictions=predictions,
        failed=failed,
        labels=labels,
        predicates=predicates,
        aligned=mode != "sgdet",
        ordinal=met.ordinal,
    )


def _rows(side: Side) -> RelationRows:
    return RelationRows(
        offsets=side.relation_offsets,
        subject=side.subject,
        object=side.object,
        predicates=side.predicates,
        scores=side.scores,
    )


def _all_named(objects: Objects, labels: int) -> Objects:
    """The objects with one more code for those without a name: told the labels, nobody names them wrongly."""
    return attrs.evolve(objects, labels=np.where(objects.labels < 0, labels, objects.labels))


def _aligned(truth: Objects, predicted: Objects, stands: Ints, *, take_names: bool) -> Objects:
    """The truth's regions; with `take_names` under the label and score of the first region that stands for each."""
    scores = np.ones(len(truth.labels), np.float32)
    if not take_names:
        return attrs.evolve(truth, scores=scores)
    labels = np.full(len(truth.labels), -1, np.int32)
    rows = np.flatnonzero(stands >= 0)[::-1]
    labels[stands[rows]], scores[stands[rows]] = predicted.labels[rows], predicted.scores[rows]
    return attrs.evolve(truth, labels=labels, scores=scores)
