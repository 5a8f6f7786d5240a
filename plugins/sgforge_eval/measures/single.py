"""One region an object, one distribution a pair: the corrected protocol of panoptic scene graphs.

A model that lists an object several times, each with another predicate to its partner, gets several guesses for one
pair. Here regions of one label that overlap with IoU >= 0.5 are one object, its pairs have one distribution, and each
region stands for the one true region of its label that it overlaps most. Source: Lorenz et al. 2024 (arXiv
2407.09216); matching as in the package sgbench 1.0.0.
"""

from __future__ import annotations

import attrs
import numpy as np

from sgforge import boxes
from sgforge.matching import Localizer, equal_keys
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import Dense, EvalBatch, Objects, offsets_of

__all__ = ["AssignedLocalizer", "one_region_an_object"]

_ENOUGH = 0.5


def one_region_an_object(batch: EvalBatch) -> EvalBatch:
    """The batch with each object's regions as one (that of highest score) and each pair's rows as one distribution."""
    predictions = batch.predictions
    objects = predictions.objects
    stands = _representatives(objects)
    if (stands == np.arange(len(stands))).all():
        return batch
    subject, target = stands[predictions.subject], stands[predictions.object]
    moved = attrs.evolve(predictions, subject=subject, object=target)
    return attrs.evolve(batch, predictions=_merged(moved) if isinstance(moved, Dense) else moved)


def _representatives(objects: Objects) -> Ints:
    """For each region the one that stands for its object: the best that overlaps it, of its label and image."""
    image = _image_of(objects)
    span = int(objects.labels.max(initial=0)) + 2
    keys = np.where(objects.labels >= 0, image * span + objects.labels, -1)
    first, second = equal_keys(keys, keys)
    near = boxes.iou_rows(objects.boxes[first].astype(np.float64), objects.boxes[second].astype(np.float64)) >= _ENOUGH
    rank = np.empty(len(keys), np.int64)
    rank[np.lexsort((np.arange(len(keys)), -objects.scores))] = np.arange(len(keys))
    better = near & (rank[first] < rank[second])
    stands = np.arange(len(keys))
    order = np.lexsort((rank[first[better]], rank[second[better]]))
    # By descending score: a region that is itself represented stands for nobody.
    for one, other in zip(first[better][order].tolist(), second[better][order].tolist(), strict=True):
        if stands[other] == other and stands[one] == one:
            stands[other] = one
    return stands


def _merged(dense: Dense) -> Dense:
    """Rows of one pair as one, the highest score of each predicate; pairs keep the place of their first row."""
    span = max(len(dense.objects.labels), 1)
    image = np.repeat(np.arange(len(dense.offsets) - 1), np.diff(dense.offsets))
    key, first, inverse = np.unique(dense.subject * span + dense.object, return_index=True, return_inverse=True)
    scores = np.zeros((len(key), dense.scores.shape[1]), dense.scores.dtype)
    np.maximum.at(scores, inverse, dense.scores)
    order = np.argsort(first, kind="stable")
    kept = first[order]
    offsets = offsets_of(np.bincount(image[kept], minlength=len(dense.offsets) - 1))
    return attrs.evolve(dense.rows(kept, offsets), scores=scores[order])


def _image_of(objects: Objects) -> Ints:
    return np.repeat(np.arange(len(objects.offsets) - 1), np.diff(objects.offsets))


class AssignedLocalizer:
    """Each predicted region is found in the one true region of its label that it overlaps most, if with IoU >= 0.5.

    Of equal overlaps the first true region is taken. `masks` decides by mask instead (those of a truth do not overlap,
    so that one true region at most has enough).
    """

    def __init__(self, batch: EvalBatch, masks: Localizer | None = None) -> None:
        truth, predicted = batch.truth.objects, batch.predictions.objects
        span = batch.labels + 1
        wanted, given = (
            np.where(side.labels >= 0, _image_of(side) * span + side.labels, -1) for side in (truth, predicted)
        )
        true_rows, rows = equal_keys(wanted, given)
        overlap: Floats
        if masks is not None:
            overlap = masks.regions(true_rows, rows).astype(np.float64)
        else:
            overlap = boxes.iou_rows(
                truth.boxes[true_rows].astype(np.float64), predicted.boxes[rows].astype(np.float64)
            )
        enough = overlap >= _ENOUGH
        true_rows, rows, overlap = true_rows[enough], rows[enough], overlap[enough]
        order = np.lexsort((-true_rows, overlap))
        self._assigned = np.full(len(predicted.labels), -1, np.int64)
        self._assigned[rows[order]] = true_rows[order]  # the best is written last

    def regions(self, truth: Ints, predicted: Ints) -> Flags:
        """Whether predicted region i stands for truth region i."""
        return self._assigned[predicted] == truth

    def phrases(self, truth: tuple[Ints, Ints], predicted: tuple[Ints, Ints]) -> Flags:
        """Whether both regions do: a phrase has no region of its own here."""
        return self.regions(truth[0], predicted[0]) & self.regions(truth[1], predicted[1])
