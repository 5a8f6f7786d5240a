"""What holds for rewards: totals in the range they state, and one bad outcome that harms no other."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from sgforge.graph import Sample, SceneGraph
from sgforge.stages import Credit, Failure, Outcome
from sgforge.stages.rewards import Scored, check_credit, range_of
from sgforge.testing.contracts.base import ComponentContract
from sgforge.testing.samples import broken_sample, tiny_samples

__all__ = ["RewardContract"]


def _score(reward: Any, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Scored]]:
    """The answers of a sync reward to all samples, or of an async one to all at the same time."""
    if not inspect.iscoroutinefunction(reward.score):
        return [list(group) for group in reward.score(samples, outcomes)]

    async def gather() -> list[list[Scored]]:
        calls = (reward.score(*pair) for pair in zip(samples, outcomes, strict=True))
        return [list(group) for group in await asyncio.gather(*calls)]

    return asyncio.run(gather())


class RewardContract(ComponentContract):
    """Contract of a reward."""

    kind = "reward"

    def samples(self, folder: Path) -> list[Sample]:
        """The samples to try it on."""
        return tiny_samples(folder)

    def outcomes(self, sample: Sample) -> list[Outcome]:
        """What may have been made of a sample: its truth, half of it, nothing, and what could not be read."""
        graph = sample.graph
        scored = [attrs.evolve(row, score=0.25) for row in graph.all.relations]
        return [
            Outcome(graph, sample.image),
            Outcome(SceneGraph(graph.width, graph.height, graph.all.regions, scored), sample.image, "some words"),
            Outcome(SceneGraph(graph.width, graph.height), sample.image, ""),
            Outcome(None, sample.image, "no graph at all", ("unreadable",)),
        ]

    def credits(self, folder: Path, samples: Sequence[Sample]) -> list[list[Scored]]:
        """The credits of a new instance."""
        with self.built(folder) as reward:
            return _score(reward, samples, [self.outcomes(sample) for sample in samples])

    def test_its_range_is_stated(self, tmp_path: Path) -> None:
        with self.built(tmp_path) as reward:
            range_of(reward)

    def test_every_outcome_gets_its_credit(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        credits = self.credits(tmp_path, samples)
        assert [len(group) for group in credits] == [len(self.outcomes(sample)) for sample in samples]

    def test_credits_are_finite_and_in_range(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        with self.built(tmp_path) as reward:
            allowed = range_of(reward)
        for sample, group in zip(samples, self.credits(tmp_path, samples), strict=True):
            for number, (scored, outcome) in enumerate(zip(group, self.outcomes(sample), strict=True)):
                found = check_credit(scored, outcome, allowed)
                is_own = isinstance(scored, Failure)
                assert is_own or isinstance(found, Credit), f"{sample.image_id}, outcome {number}: {found}"

    def test_same_outcome_same_credit(self, tmp_path: Path) -> None:
        if not self.registered().needs.deterministic:
            return
        samples = self.samples(tmp_path)
        assert self.credits(tmp_path, samples) == self.credits(tmp_path, samples), (
            "two instances differ: declare Needs(deterministic=False), or take randomness from resources.seed"
        )

    def test_one_bad_outcome_harms_no_other(self, tmp_path: Path) -> None:
        if not self.registered().needs.deterministic:
            return
        samples = self.samples(tmp_path)
        groups = [self.outcomes(sample) for sample in samples]
        bad = broken_sample(tmp_path)
        mixed = [[group[0], Outcome(None, bad.image, "\0{[", ("unreadable",)), *group[1:]] for group in groups]
        with self.built(tmp_path) as reward:
            alone = _score(reward, samples, groups)
            among = _score(reward, [*samples, bad], [*mixed, [Outcome(bad.graph, bad.image)]])
        assert [[group[0], *group[2:]] for group in among[:-1]] == alone, "a bad outcome changed the credits of others"
        assert [len(group) for group in among] == [*(len(group) for group in mixed), 1]

    def test_order_makes_no_difference(self, tmp_path: Path) -> None:
        if not self.registered().needs.deterministic:
            return
        samples = self.samples(tmp_path)
        turned = self.credits(tmp_path, samples[::-1])[::-1]
        for sample, one, other in zip(samples, self.credits(tmp_path, samples), turned, strict=True):
            for first, second in zip(one, other, strict=True):
                same = first == second
                if isinstance(first, Credit) and isinstance(second, Credit):
                    same = math.isclose(first.total, second.total, abs_tol=1e-9)
                assert same, f"{sample.image_id}: a credit depends on its place among others"

    def test_nothing_to_score(self, tmp_path: Path) -> None:
        with self.built(tmp_path) as reward:
            assert _score(reward, [], []) == []
            samples = self.samples(tmp_path)
            assert _score(reward, samples, [[] for _ in samples]) == [[] for _ in samples]

    def test_samples_are_left_alone(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        self.credits(tmp_path, samples)
        assert samples == self.samples(tmp_path), "a reward changes nothing"
