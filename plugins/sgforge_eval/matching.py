"""Which truth triplets are found, and at which rank: a join over triplet codes, overlap only where names agree.

`first_hit` of a truth row is the smallest rank of a listed triplet whose three names agree and whose two regions
overlap enough; every recall is counted from it. There is no one-to-one assignment: one listed triplet may find several
truth rows (as in the public evaluators).
"""

from __future__ import annotations

from typing import Final, Protocol

import attrs
import numpy as np

from sgforge import boxes
from sgforge_eval.arrays import Flags, Floats, Ints
from sgforge_eval.batch import EvalBatch, Objects, Truth
from sgforge_eval.conventions import Convention
from sgforge_eval.ranked import Ranked

__all__ = ["NEVER", "BoxLocalizer", "Localizer", "TripletJoin", "equal_keys", "first_hit", "unique_truth"]

NEVER: Final = np.int32(2**31 - 1)
_HASH = np.uint64(0x9E3779B97F4A7C15)
Rows = Ints


class Localizer(Protocol):
    """Decides whether regions overlap enough; rows index truth objects and predicted objects of one batch."""

    def regions(self, truth: Rows, predicted: Rows) -> Flags:
        """Whether truth region i and predicted region i match."""

    def phrases(self, truth: tuple[Rows, Rows], predicted: tuple[Rows, Rows]) -> Flags:
        """Whether the union of truth subject and object i matches that of predicted subject and object i."""


class BoxLocalizer:
    """Localisation by boxes, in the pixel rule of a convention."""

    def __init__(self, truth: Objects, predicted: Objects, convention: Convention) -> None:
        self._truth, self._predicted, self._convention = truth.boxes, predicted.boxes, convention

    def _match(self, first: Floats, second: Floats) -> Flags:
        # In float64 an IoU of exactly 0.5 is exactly 0.5; a box of NaN overlaps nothing.
        overlap = boxes.iou_rows(first.astype(np.float64), second.astype(np.float64), self._convention.pixels)
        return overlap > 0.5 if self._convention.strict else overlap >= 0.5

    def regions(self, truth: Rows, predicted: Rows) -> Flags:
        """Whether box i and box i match."""
        return self._match(self._truth[truth], self._predicted[predicted])

    def phrases(self, truth: tuple[Rows, Rows], predicted: tuple[Rows, Rows]) -> Flags:
        """Whether the boxes around both regions match."""
        return self._match(
            boxes.union_boxes(self._truth[truth[0]], self._truth[truth[1]]),
            boxes.union_boxes(self._predicted[predicted[0]], self._predicted[predicted[1]]),
        )


def equal_keys(truth: Rows, keys: Rows) -> tuple[Rows, Rows]:
    """All (i, j) with truth[i] == keys[j]; negative keys match nothing.

    A bit table over hashes throws out nearly all keys before the binary search.
    """
    known = np.flatnonzero(truth >= 0)
    if not len(known) or not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    shift = np.uint64(64 - max(10, int(len(known) * 16 - 1).bit_length()))
    table = np.zeros(1 << (64 - int(shift)), bool)
    table[(truth[known].astype(np.uint64) * _HASH) >> shift] = True
    candidates = np.flatnonzero(table[(keys.astype(np.uint64) * _HASH) >> shift] & (keys >= 0))
    order = known[np.argsort(truth[known], kind="stable")]
    ordered = truth[order]
    low = np.searchsorted(ordered, keys[candidates], "left")
    counts = np.searchsorted(ordered, keys[candidates], "right") - low
    second = np.repeat(candidates, counts)
    begin = np.cumsum(counts) - counts
    first = order[np.arange(len(second)) - np.repeat(begin - low, counts)]
    return first, second


@attrs.frozen(eq=False)
class _Codes:
    """Numbers of labels and predicates that make one whole number of (image, subject, predicate, object)."""

    labels: int
    predicates: int

    def keys(self, image: Ints, subject: Ints, predicate: Ints, object_: Ints) -> Ints:
        """(n,) keys; -1 where a name has no code."""
        key = ((image * self.labels + subject) * self.predicates + predicate) * self.labels + object_
        return np.where((subject < 0) | (predicate < 0) | (object_ < 0), -1, key)

    def fit(self, images: int) -> bool:
        """Whether the keys of so many images fit 63 bits."""
        return images * self.labels**2 * self.predicates < 2**62


def _among(known: Ints, codes: Ints) -> Ints:
    """The place of each code among the sorted `known` ones; -1 for another."""
    place = np.minimum(np.searchsorted(known, codes), max(len(known) - 1, 0))
    found = known[place] == codes if len(known) else np.zeros(len(codes), bool)
    return np.where(found & (codes >= 0), place, -1)


class TripletJoin:
    """Truth rows and listed triplets of a batch whose names agree, judged by a localizer on demand."""

    def __init__(self, batch: EvalBatch, listed: Ranked) -> None:
        truth, predicted = batch.truth, batch.predictions.objects
        labels: Ints = truth.objects.labels.astype(np.int64)
        others: Ints = predicted.labels.astype(np.int64)
        verbs, said = truth.predicate, listed.predicate
        codes = _Codes(batch.labels + 1, batch.predicates + 1)
        if not codes.fit(batch.count):
            # Vocabularies of millions of free texts: only the names of this batch's truth can match.
            known, kinds = np.unique(labels[labels >= 0]), np.unique(verbs[verbs >= 0])
            labels, others = _among(known, labels), _among(known, others)
            verbs, said = _among(kinds, verbs), _among(kinds, said)
            codes = _Codes(len(known) + 1, len(kinds) + 1)
        wanted = codes.keys(truth.image, labels[truth.subject], verbs, labels[truth.object])
        given = codes.keys(listed.image, others[listed.subject], said, others[listed.object])
        self.truth_rows, self.listed_rows = equal_keys(wanted, given)
        self._truth = truth.subject[self.truth_rows], truth.object[self.truth_rows]
        self._listed = listed.subject[self.listed_rows], listed.object[self.listed_rows]

    def both_regions(self, localizer: Localizer) -> Flags:
        """Per joined pair: subject and object both match."""
        matched = localizer.regions(self._truth[0], self._listed[0])
        again = np.flatnonzero(matched)
        matched[again] = localizer.regions(self._truth[1][again], self._listed[1][again])
        return matched

    def phrases(self, localizer: Localizer) -> Flags:
        """Per joined pair: the unions of subject and object match."""
        return localizer.phrases(self._truth, self._listed)


def first_hit(size: int, truth_rows: Rows, ranks: Rows) -> Ints:
    """The smallest rank given for each of `size` truth rows; NEVER where none is."""
    result = np.full(size, NEVER, np.int32)
    np.minimum.at(result, truth_rows, ranks.astype(np.int32))
    return result


def unique_truth(truth: Truth) -> Flags:
    """Which truth rows are the first of their (subject region, predicate, object region)."""
    span = max(len(truth.objects.labels), 1)
    key = (truth.subject * span + truth.object) * (int(truth.predicate.max(initial=0)) + 2) + truth.predicate + 1
    _, first = np.unique(key, return_index=True)
    result = np.zeros(len(key), bool)
    result[first] = True
    return result
