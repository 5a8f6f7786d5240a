"""Average precision: of detected boxes (COCO) and of relations and phrases (Open Images), batch after batch.

Which detections are right is settled image by image; kept are a class, a score and a flag per detection, from which
the precision curves of all images are drawn at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from sgforge import boxes
from sgforge.matching import equal_keys
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import EvalBatch, Objects
from sgforge_eval.measures.conventions import Convention
from sgforge_eval.measures.ranking import Ranked, occurrence
from sgforge_eval.measures.triplets import TripletJoin

__all__ = [
    "Detections",
    "box_detections",
    "coco_average_precision",
    "envelope_average_precision",
    "one_to_one",
    "relation_detections",
    "reliability",
    "triplet_average_precision",
    "triplet_detections",
]

_MOST = 100


@attrs.frozen(eq=False)
class Detections:
    """`group` (D,) class or predicate codes, `score` (D,) float32, `right` (D,) bool; `truth` (size,) rows per group.

    `image` (D,) is the place of each one's image among all: equal scores are ordered by it. Detections of an image are
    in descending order of score. `cut`: how many more there were than a class of an image may have. `lost`:
    images of those that are right but for a defect of the reference.
    """

    image: Ints
    group: Ints
    score: Floats
    right: Flags
    truth: Ints
    cut: int = 0
    lost: Ints = attrs.field(factory=lambda: np.zeros(0, np.int32))

    @classmethod
    def concat(cls, parts: Sequence[Detections]) -> Detections:
        """The detections of all parts, in order; later parts may know more groups."""
        size = max(len(part.truth) for part in parts)
        truth = np.zeros(size, np.int64)
        for part in parts:
            truth[: len(part.truth)] += part.truth
        return cls(
            image=np.concatenate([part.image for part in parts]),
            group=np.concatenate([part.group for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            right=np.concatenate([part.right for part in parts]),
            truth=truth,
            cut=sum(part.cut for part in parts),
            lost=np.concatenate([part.lost for part in parts]),
        )


def _curves(found: Detections) -> Iterator[tuple[int, Floats, Floats]]:
    """Each group with truth, and recall and precision after each detection of it, by descending score."""
    order = np.argsort(found.group, kind="stable")
    bounds = np.searchsorted(found.group[order], np.arange(len(found.truth) + 1))
    for group in np.flatnonzero(found.truth > 0).tolist():
        rows = order[bounds[group] : bounds[group + 1]]
        rows = rows[np.lexsort((found.image[rows], -found.score[rows]))]
        right = np.cumsum(found.right[rows])
        yield group, right / found.truth[group], right / np.arange(1, len(rows) + 1)


def coco_average_precision(found: Detections) -> Floats:
    """AP per group: precision, made monotone, at 101 recalls; NaN without truth (COCO's definition)."""
    result = np.full(len(found.truth), np.nan)
    for group, recall, precision in _curves(found):
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, np.linspace(0.0, 1.0, 101), side="left")
        result[group] = np.concatenate([highest, [0.0]])[np.minimum(at, len(highest))].mean()
    return result


def envelope_average_precision(found: Detections) -> Floats:
    """AP per group: area under the monotone precision envelope at all points; 0 without truth (Open Images, VOC)."""
    result = np.zeros(len(found.truth))
    for group, recall, precision in _curves(found):
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        result[group] = (np.diff(recall, prepend=0.0) * highest).sum()
    return result


def _image_of(objects: Objects) -> Ints:
    return np.repeat(np.arange(len(objects.offsets) - 1), np.diff(objects.offsets))


def _ordinals(batch: EvalBatch) -> Ints:
    return np.arange(batch.count) if batch.ordinal is None else batch.ordinal


def box_detections(batch: EvalBatch, convention: Convention, least: float = 0.5) -> Detections:
    """Right boxes at IoU `least` as COCO counts them: by descending score, each taking its best box that is still free.

    At most 100 boxes of a class in an image count. Boxes without a label are left out. Sides are those of the
    convention's detection. A convention may lose the very first truth box: its reference numbers annotations from 0,
    which pycocotools reads as "no match".
    """
    truth, predicted = batch.truth.objects, batch.predictions.objects
    span = batch.labels + 1
    keys = np.where(predicted.labels >= 0, _image_of(predicted) * span + predicted.labels, -1)
    order = np.lexsort((-predicted.scores, keys))
    order = order[keys[order] >= 0]
    rank = occurrence(keys[order])
    cut = int(np.count_nonzero(rank >= _MOST))
    order, rank = order[rank < _MOST], rank[rank < _MOST]
    wanted = np.where(truth.labels >= 0, _image_of(truth) * span + truth.labels, -1)
    true_rows, listed = equal_keys(wanted, keys[order])
    true_side, predicted_side = (np.array([0, 0, extra, extra], np.float64) for extra in convention.detection_sides)
    overlap = boxes.iou_rows(
        truth.boxes[true_rows] + true_side, predicted.boxes[order[listed]] + predicted_side, "continuous"
    )
    near = overlap >= least
    lost = -1
    if convention.loses_first_box and (batch.ordinal is None or 0 in batch.ordinal):
        image = 0 if batch.ordinal is None else int(np.flatnonzero(batch.ordinal == 0)[0])
        lost = int(truth.offsets[image])
    taken = _greedy(true_rows[near], listed[near], overlap[near], rank, len(wanted))
    image_of = _ordinals(batch)[_image_of(predicted)[order]].astype(np.int32)
    return Detections(
        image=image_of,
        group=predicted.labels[order].astype(np.int32),
        score=predicted.scores[order],
        right=(taken >= 0) & (taken != lost),
        truth=np.bincount(truth.labels[truth.labels >= 0], minlength=span),
        cut=cut,
        lost=image_of[(taken >= 0) & (taken == lost)],
    )


def _overlaps(first: Floats, second: Floats, convention: Convention) -> Floats:
    return boxes.iou_rows(first.astype(np.float64), second.astype(np.float64), convention.pixels)


def one_to_one(true_rows: Ints, listed_rows: Ints, rank: Ints, truths: int) -> Flags:
    """Which listed triplets find a truth row that no better one of their image found before.

    `true_rows`, `listed_rows` (n,) say which match, `rank` is that of every listed one.
    """
    return _greedy(true_rows, listed_rows, np.ones(len(listed_rows)), rank, truths) >= 0


def triplet_detections(batch: EvalBatch, listed: Ranked, taken: Flags) -> Detections:
    """Listed triplets as detections of their predicates; right are those that `taken` finds one to one."""
    kept = listed.predicate >= 0
    known = batch.truth.predicate[batch.truth.predicate >= 0]
    return Detections(
        image=_ordinals(batch)[listed.image[kept]].astype(np.int32),
        group=listed.predicate[kept].astype(np.int32),
        score=listed.score[kept],
        right=taken[kept],
        truth=np.bincount(known, minlength=batch.predicates),
    )


def reliability(found: Detections, bins: int = 10) -> Floats:
    """(B, 3) of detections by score, in equal steps from 0 to 1: mean score, share right, how many; no empty ones."""
    step = np.minimum((np.clip(found.score, 0, 1) * bins).astype(np.int64), bins - 1)
    count = np.bincount(step, minlength=bins)
    held = np.flatnonzero(count)
    sums = [np.bincount(step, values, bins)[held] for values in (found.score, found.right)]
    return np.stack([*(total / count[held] for total in sums), count[held]], axis=1)


def triplet_average_precision(found: Detections) -> Floats:
    """AP per group as `envelope_average_precision`, all groups at once: there may be thousands. NaN without truth."""
    rows = np.lexsort((found.image, -found.score, found.group))
    group, right = found.group[rows].astype(np.int64), found.right[rows].astype(np.int64)
    starts = np.searchsorted(group, np.arange(len(found.truth) + 1))
    before = np.concatenate([[0], np.cumsum(right)])
    precision = (before[1:] - before[starts[group]]) / (np.arange(len(group)) - starts[group] + 1)
    # The best precision from here on within the group: what is read before, from the end, lies 2 or more below.
    lift = 2.0 * (len(found.truth) - group)
    highest = np.maximum.accumulate((precision + lift)[::-1])[::-1] - lift
    total = np.bincount(group, highest * right, len(found.truth))
    result: Floats = np.divide(total, found.truth, out=np.full(len(total), np.nan), where=found.truth > 0)
    return result


def _greedy(true_rows: Ints, listed: Ints, overlap: Floats, rank: Ints, truths: int) -> Ints:
    """The truth row that each detection gets for its own, -1 for none; equal ranks are of other classes or images."""
    taken = np.zeros(truths, bool)
    found = np.full(len(rank), -1, np.int64)
    order = np.lexsort((true_rows, overlap, listed, rank[listed]))
    true_rows, listed = true_rows[order], listed[order]
    bounds = np.searchsorted(rank[listed], np.arange(int(rank.max(initial=-1)) + 2))
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        free = start + np.flatnonzero(~taken[true_rows[start:end]])
        if not len(free):
            continue
        # Ascending overlap within a detection: its last free row is its best.
        last = free[np.concatenate([listed[free][1:] != listed[free][:-1], [True]])]
        taken[true_rows[last]] = True
        found[listed[last]] = true_rows[last]
    return found


def relation_detections(batch: EvalBatch, listed: Ranked, convention: Convention) -> tuple[Detections, Detections]:
    """Right relations and right phrases as Open Images counts them.

    The overlap of a relation is the smaller of its two box IoUs, that of a phrase the IoU of the union boxes. A listed
    triplet is right if its overlap with its best truth row of equal names exceeds 0.5 and no better triplet took it.
    """
    truth, predicted = batch.truth, batch.predictions.objects
    join = TripletJoin(batch, listed)
    true_rows, rows = join.truth_rows, join.listed_rows
    known = truth.predicate[truth.predicate >= 0]
    counts = np.bincount(known, minlength=batch.predicates)
    true_boxes = truth.objects.boxes[truth.subject[true_rows]], truth.objects.boxes[truth.object[true_rows]]
    listed_boxes = predicted.boxes[listed.subject[rows]], predicted.boxes[listed.object[rows]]
    smaller = np.minimum(
        _overlaps(true_boxes[0], listed_boxes[0], convention), _overlaps(true_boxes[1], listed_boxes[1], convention)
    )
    around = _overlaps(boxes.union_boxes(*true_boxes), boxes.union_boxes(*listed_boxes), convention)
    kept = listed.predicate >= 0
    relation, phrase = (
        Detections(
            image=_ordinals(batch)[listed.image[kept]].astype(np.int32),
            group=listed.predicate[kept].astype(np.int32),
            score=listed.score[kept],
            right=_first_takers(true_rows, rows, overlap, len(listed.rank))[kept],
            truth=counts,
        )
        for overlap in (smaller, around)
    )
    return relation, phrase


def _first_takers(true_rows: Ints, listed: Ints, overlap: Floats, size: int) -> Flags:
    """Per listed triplet: its best truth row overlaps above 0.5, and no triplet before it has that same best row."""
    order = np.lexsort((-true_rows, overlap, listed))
    best = order[np.concatenate([listed[order][1:] != listed[order][:-1], np.ones(min(len(order), 1), bool)])]
    best = best[overlap[best] > 0.5]
    _, first = np.unique(true_rows[best], return_index=True)
    right = np.zeros(size, bool)
    right[listed[best[first]]] = True
    return right
