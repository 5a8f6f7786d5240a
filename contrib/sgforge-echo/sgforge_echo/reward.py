"""The reward behind the name "coverage"."""

from __future__ import annotations

from collections.abc import Sequence

from sgforge import Sample
from sgforge.stages import Credit, Outcome


class CoverageReward:
    """The share of an outcome's regions that take part in a relation."""

    range = (0.0, 1.0)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Credit]]:
        """A credit for each outcome of each sample, in order."""
        return [[self._credit(outcome) for outcome in group] for group in outcomes]

    def _credit(self, outcome: Outcome) -> Credit:
        if outcome.graph is None or not outcome.graph.regions:
            return Credit(0.0)
        related = {index for row in outcome.graph.relations.values() for index in (row.subject, row.object)}
        return Credit(len(related) / len(outcome.graph.regions))
