"""Reward `gate`: rewards in an order, each of which counts only if all before it pass."""

from __future__ import annotations

from collections.abc import Sequence

from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Credit, Failure, Outcome, Part, Resources, RewardSum
from sgforge_grpo.config import GateOptions

__all__ = ["GateReward"]


class GateReward:
    """The weighed sum up to the first that does not pass, that one included; those behind it are worth their least."""

    def __init__(self, options: GateOptions) -> None:
        self._options = options

    def setup(self, resources: Resources) -> None:
        """Take the rewards."""
        self._parts: Sequence[Part] = resources.parts.get("rewards", ())
        if any(part.weight < 0 for part in self._parts):
            raise StepError("gate: a reward with a weight below 0 would be worth more where it does not count")
        # One sum each: a failure of a later reward must not take an outcome that never reaches it.
        self._each = [RewardSum([part]) for part in self._parts]
        RewardSum(self._parts)
        ends = [one.range for one in self._each]
        self.range = (sum(low for low, _ in ends), sum(high for _, high in ends))

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Credit | Failure]]:
        """The credits of all outcomes; `passed` is how many rewards passed in a row."""
        each = [one.score(samples, outcomes) for one in self._each]
        return [
            [self._through([answers[row][place] for answers in each]) for place in range(len(group))]
            for row, group in enumerate(outcomes)
        ]

    def _through(self, scored: Sequence[Credit | Failure]) -> Credit | Failure:
        total, passed, is_open, parts = 0.0, 0, True, dict[str, float]()
        relations: tuple[float, ...] | None = None
        for part, one, credit in zip(self._parts, self._each, scored, strict=True):
            low, high = one.range
            if not is_open:
                total += low
                parts[part.name] = low / (part.weight or 1.0)
                continue
            if isinstance(credit, Failure):
                return credit
            total += credit.total
            parts |= credit.parts
            relations = credit.relations if credit.relations is not None else relations
            is_open = high > low and (credit.total - low) / (high - low) >= self._options.least
            passed += is_open
        return Credit(total, {**parts, "passed": float(passed)}, relations=relations)
