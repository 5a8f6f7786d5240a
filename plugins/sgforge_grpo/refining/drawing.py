"""The answers of one step, with what they are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import attrs
import numpy as np

from sgforge.errors import StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.models.errors import BudgetReachedError, RunStoppedError
from sgforge.stages import VERBS, Credit, Failure, Outcome, Resources, RewardSum
from sgforge.stages.policies import GivesPolicy, Policy, Rollout

__all__ = ["Critic", "Drawn", "Group", "asked_of", "bare", "draw", "is_final", "spreads", "truth_of"]

_RAISED: Final = "raised"


@attrs.frozen(kw_only=True, eq=False)
class Drawn:
    """One answer, what it is worth, and what each reward gave it; None where a reward failed on it."""

    rollout: Rollout
    total: float | None
    credit: Credit | Failure

    @property
    def is_malformed(self) -> bool:
        """Whether something of it could not be read."""
        return bool(self.rollout.outcome.faults)


@attrs.frozen(kw_only=True, eq=False)
class Group:
    """The answers to one question; `has_truth`: whether the truth about it has any relation."""

    answers: tuple[Drawn, ...]
    has_truth: bool

    @property
    def scored(self) -> list[Drawn]:
        """Answers with a total."""
        return [one for one in self.answers if one.total is not None]

    @property
    def spread(self) -> float:
        """The standard deviation of the totals (unbiased); 0 of fewer than two."""
        totals = [one.total for one in self.scored if one.total is not None]
        return float(np.std(totals, ddof=1)) if len(totals) > 1 else 0.0


def bare(sample: Sample) -> Sample:
    """The sample as a policy may see it: without the relations, which are what it is to say."""
    graph = sample.graph
    shown = SceneGraph(graph.width, graph.height, graph.all.regions, attributes=graph.attributes)
    return attrs.evolve(sample, graph=shown, relation_values={})


def truth_of(sample: Sample, part: int | None) -> Sample:
    """The truth about one question: of a subject, the relations of that subject."""
    if part is None:
        return sample
    graph = sample.graph
    own = [row for row in graph.all.relations if row.subject == part]
    rows = SceneGraph(graph.width, graph.height, graph.all.regions, own, attributes=graph.attributes)
    return attrs.evolve(sample, graph=rows, relation_values={})


class Critic:
    """Scores answers; a reward that raises takes the answer that it raised on, and nothing else."""

    def __init__(self, resources: Resources, warm: int) -> None:
        parts = resources.parts.get("rewards", ())
        self._rewards = RewardSum(parts)
        self._weights = {part.name: part.weight for part in parts}
        self._warm = warm
        self.names = tuple(self._weights)
        self.failures: Counter[str] = Counter()
        self.said: str | None = None

    def weights(self, step: int) -> dict[str, float]:
        """Weights at a step: those of all rewards but the first rise over the first steps."""
        share = min(1.0, (step + 1) / self._warm) if self._warm else 1.0
        return {name: weight * (share if place else 1.0) for place, (name, weight) in enumerate(self._weights.items())}

    def groups(self, rollouts: Sequence[Rollout], samples: dict[str, Sample], step: int) -> list[Group]:
        """The rollouts with their worth, group by group."""
        self.failures.clear()
        weights = self.weights(step)
        members = [list(group) for _, group in groupby(rollouts, key=lambda one: one.group)]
        truths = [truth_of(samples[group[0].sample.image_id], group[0].part) for group in members]
        outcomes = [[one.outcome for one in group] for group in members]
        found = []
        for group, truth, credits in zip(members, truths, self._scored(truths, outcomes), strict=True):
            answers = [self._drawn(one, credit, weights) for one, credit in zip(group, credits, strict=True)]
            found.append(Group(answers=tuple(answers), has_truth=bool(truth.graph.relations)))
        return found

    def _drawn(self, rollout: Rollout, credit: Credit | Failure, weights: dict[str, float]) -> Drawn:
        if isinstance(credit, Failure):
            self.failures[credit.reason] += 1
            self.said = self.said or credit.detail or credit.reason
            return Drawn(rollout=rollout, total=None, credit=credit)
        total = sum(weight * credit.parts[name] for name, weight in weights.items())
        return Drawn(rollout=rollout, total=total, credit=credit)

    def _scored(self, truths: list[Sample], outcomes: list[list[Outcome]]) -> Iterator[list[Credit | Failure]]:
        try:
            yield from self._rewards.score(truths, outcomes)
            return
        except Exception as error:
            if is_final(error):
                raise
        # One of them raised: each is asked about each answer alone, so that it takes no other along.
        for truth, group in zip(truths, outcomes, strict=True):
            yield [self._alone(truth, outcome) for outcome in group]

    def _alone(self, truth: Sample, outcome: Outcome) -> Credit | Failure:
        try:
            return self._rewards.score([truth], [[outcome]])[0][0]
        except Exception as error:
            if is_final(error):
                raise
            return Failure(_RAISED, f"{type(error).__name__}: {error}")


def is_final(error: Exception) -> bool:
    """Whether asking again is pointless: the money is spent, or the run is to end."""
    return isinstance(error, BudgetReachedError | RunStoppedError)


def asked_of(student: GivesPolicy) -> Callable[[Sample], Sample]:
    """How a policy may see samples: a renderer's task is the whole graph, a student is not to see the relations."""
    return _itself if hasattr(student, VERBS["render"].method) else bare


def _itself(sample: Sample) -> Sample:
    return sample


def draw(policy: Policy, samples: Sequence[Sample], group: int, seed: int) -> list[Rollout]:
    """Answers of the policy to samples as it may see them, checked: in whole groups."""
    rollouts = policy.rollouts(samples, group=group, seed=seed)
    sizes = Counter(one.group for one in rollouts)
    odd = next((size for size in sizes.values() if size != group), None)
    if odd is not None:
        raise StepError(f"the policy answered a question {odd} times instead of {group}")
    return rollouts


def spreads(groups: Sequence[Group], names: Sequence[str]) -> dict[str, float]:
    """The mean deviation of each reward within its groups: 0 for one that teaches nothing."""
    found: dict[str, Any] = {}
    for name in names:
        own = [[one.credit.parts[name] for one in group.scored if isinstance(one.credit, Credit)] for group in groups]
        values = [float(np.std(one, ddof=1)) for one in own if len(one) > 1]
        found[name] = (sum(values), len(values))
    return {name: total / count if count else 0.0 for name, (total, count) in found.items()}
