"""The teacher behind the name "echo"."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sgforge import Edit, Relation, Sample
from sgforge_echo import EchoOptions


class EchoTeacher:
    """Adds one relation from each kept region to the next."""

    def __init__(self, options: EchoOptions) -> None:
        self._predicate = options.predicate

    def complete(self, samples: Sequence[Sample]) -> list[Edit]:
        """One edit per sample, in order."""
        return [self._relate(sample) for sample in samples]

    def _relate(self, sample: Sample) -> Edit:
        regions = sample.graph.regions
        return Edit.add(*(Relation(one, self._predicate, other) for one, other in pairwise(regions)))
