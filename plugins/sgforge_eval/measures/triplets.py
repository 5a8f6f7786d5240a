"""Which truth triplets are found, and at which rank: a join over triplet codes, overlap only where names agree.

`first_hit` of a truth row is the smallest rank of a listed triplet whose three names agree and whose two regions
overlap enough; every recall is counted from it. There is no one-to-one assignment: one listed triplet may find several
truth rows (as in the public evaluators).
"""

from __future__ import annotations

import attrs
import numpy as np

from sgforge.matching import Localizer, equal_keys
from sgforge_eval.intake.arrays import Flags, Ints
from sgforge_eval.intake.batch import EvalBatch, Truth
from sgforge_eval.measures.ranking import Ranked

__all__ = ["TripletJoin", "unique_truth"]


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


def unique_truth(truth: Truth) -> Flags:
    """Which truth rows are the first of their (subject region, predicate, object region)."""
    span = max(len(truth.objects.labels), 1)
    key = (truth.subject * span + truth.object) * (int(truth.predicate.max(initial=0)) + 2) + truth.predicate + 1
    _, first = np.unique(key, return_index=True)
    result = np.zeros(len(key), bool)
    result[first] = True
    return result
