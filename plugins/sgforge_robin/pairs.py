"""Regions and pairs as the pair head takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from sgforge.graph import Region, Sample
from sgforge_robin.encoding import PairTruth
from sgforge_robin.regions import box_shares

__all__ = ["PairVocabulary"]


@attrs.frozen(eq=False)
class PairVocabulary:
    """The closed vocabularies of a pair head: the id of each label and predicate."""

    labels: Mapping[str, int]
    predicates: Mapping[str, int]

    @classmethod
    def of(cls, labels: Sequence[str], predicates: Sequence[str]) -> PairVocabulary:
        """Ids in the order given."""
        return cls(*({text: place for place, text in enumerate(texts)} for texts in (labels, predicates)))

    def label_ids(self, regions: Sequence[Region]) -> Tensor:
        """(N,) ids; the number of labels for one that is not known."""
        unknown = len(self.labels)
        return torch.tensor([self.labels.get(region.label or "", unknown) for region in regions], dtype=torch.long)

    def truth(self, sample: Sample, indices: Sequence[int]) -> PairTruth | None:
        """What an image teaches a pair head about these regions; None if it has no relation, or fewer than two regions.

        An image without any relation was not described: nothing follows from its silence.
        """
        if len(indices) < 2 or not sample.graph.relations:
            return None
        rows = [sample.graph.regions[index] for index in indices]
        place = {index: number for number, index in enumerate(indices)}
        truth = torch.zeros(len(indices), len(indices), len(self.predicates), dtype=torch.bool)
        for one in sample.graph.relations.values():
            if one.subject in place and one.object in place and one.predicate in self.predicates:
                truth[place[one.subject], place[one.object], self.predicates[one.predicate]] = True
        pairs = torch.tensor([(a, b) for a in range(len(indices)) for b in range(len(indices)) if a != b])
        return PairTruth(box_shares(sample, rows), self.label_ids(rows), pairs, truth[pairs[:, 0], pairs[:, 1]])
