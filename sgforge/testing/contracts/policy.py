"""What holds for those that offer a policy: what was sampled is recomputed to the digit, and saved weights load."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs

from sgforge.stages import VERBS, Checkpoint
from sgforge.stages.policies import Policy, Rollout
from sgforge.testing.contracts.data import publish_samples
from sgforge.testing.contracts.items import ask
from sgforge.testing.contracts.student import StudentContract, TrainedContract, TrainedRendererContract
from sgforge.testing.ranks import RankOrders, folders_of, run_ranks

__all__ = ["PolicyContract", "RendererPolicyContract"]

CLOSE = 1e-5
"""How far the probability of a token may be from what it was drawn with, as a ratio."""
_RATE = 0.5
_SEED = 5


class _OffersPolicy(TrainedContract):
    """What holds for the policy of trained weights.

    The test on two ranks starts processes, in which whoever offers it must be an installed plugin's.
    """

    group: ClassVar[int] = 3

    @contextmanager
    def policy(self, folder: Path, checkpoint: Checkpoint | None = None) -> Iterator[Policy]:
        """The policy of a checkpoint, by default of the student's trained weights."""
        resources = attrs.evolve(self.resources(folder), checkpoint=checkpoint or self.checkpoint(folder))
        student = self.registered().build(self.typed_options(folder))
        try:
            yield student.policy(resources)
        finally:
            if hasattr(student, "close"):
                student.close()

    def test_it_says_that_it_offers_a_policy(self) -> None:
        assert "policy" in self.registered().offers, 'register it with offers=("policy",)'

    def test_rollouts_come_in_groups(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            rollouts = policy.rollouts(self.samples(tmp_path), group=self.group, seed=_SEED)
        assert rollouts, "there is no rollout of any sample"
        numbers = [rollout.group for rollout in rollouts]
        expected = [number for number in range(len(rollouts) // self.group) for _ in range(self.group)]
        assert numbers == expected, f"groups of {self.group}, numbered from 0 as they come, are not {numbers}"
        for start in range(0, len(rollouts), self.group):
            asked = {(one.sample.image_id, one.part) for one in rollouts[start : start + self.group]}
            assert len(asked) == 1, f"one group answers different questions: {asked}"
        for rollout in rollouts:
            where = rollout.sample.image_id
            assert rollout.tokens, f"{where}: an answer without a token"
            assert len(rollout.tokens) == len(rollout.logprobs), f"{where}: a log-probability for each token"
            assert all(math.isfinite(one) and one <= 0 for one in rollout.logprobs), f"{where}: {rollout.logprobs}"
            assert rollout.part is None or rollout.part in rollout.sample.graph.regions, f"{where}: no region is asked"

    def test_equal_seeds_give_equal_rollouts(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        with self.policy(tmp_path) as policy:
            first, again = (policy.rollouts(samples, group=self.group, seed=_SEED) for _ in range(2))
        assert list(map(_said, first)) == list(map(_said, again)), "equal weights, samples and seed gave other rollouts"

    def test_no_samples_no_rollouts(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            assert policy.rollouts([], group=self.group, seed=_SEED) == []
            assert list(policy.logprobs([])) == []

    def test_the_ratio_is_one_before_the_first_step(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            rollouts = self.sampled(policy, tmp_path)
            now = policy.logprobs(rollouts)
            check_ratio(rollouts, now)
            assert all(one.requires_grad for one in now), "log-probabilities without gradient teach nothing"

    def test_nothing_is_dropped_out(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            rollouts = self.sampled(policy, tmp_path)
            first, second = policy.logprobs(rollouts), policy.logprobs(rollouts)
            assert values(first) == values(second), "two passes over the same tokens differ: is dropout on?"

    def test_rollouts_of_some_are_as_of_all(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            rollouts = self.sampled(policy, tmp_path)
            check_ratio(rollouts[::-1], policy.logprobs(rollouts[::-1]))
            check_ratio(rollouts[:1], policy.logprobs(rollouts[:1]))

    def test_a_step_moves_the_policy_and_not_its_reference(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            rollouts = self.sampled(policy, tmp_path)
            reference = policy.reference()
            before = values(reference.logprobs(rollouts))
            check_ratio(rollouts, reference.logprobs(rollouts))
            take_step(policy, rollouts)
            assert values(policy.logprobs(rollouts)) != before, "a step along the gradient changed nothing"
            after = reference.logprobs(rollouts)
            assert values(after) == before, "the reference moved along with the policy"
            assert not any(one.requires_grad for one in after), "the reference takes a gradient"

    def test_a_state_can_be_taken_up_again(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            rollouts = self.sampled(policy, tmp_path)
            before = values(policy.logprobs(rollouts))
            state = {name: copied(value) for name, value in policy.state_dict().items()}
            take_step(policy, rollouts)
            policy.load_state_dict(state)
            assert values(policy.logprobs(rollouts)) == before, "the state that was taken up is not the one it gave"

    def test_what_it_saves_its_student_loads(self, tmp_path: Path) -> None:
        folder = tmp_path / "saved"
        folder.mkdir()
        with self.policy(tmp_path) as policy:
            rollouts = self.sampled(policy, tmp_path)
            take_step(policy, rollouts)
            policy.save(folder)
            expected = values(policy.logprobs(rollouts))
        checkpoint = Checkpoint.of(folder)
        with self.policy(tmp_path, checkpoint) as policy:
            check_close(expected, values(policy.logprobs(rollouts)), "the saved weights are not those of the policy")
        student = self.registered().build(self.typed_options(tmp_path))
        student.setup(attrs.evolve(self.resources(tmp_path), checkpoint=checkpoint))
        samples = self.samples(tmp_path)
        assert len(ask(student, VERBS[self.verb].method, samples)) == len(samples)

    def test_two_ranks_are_one_model(self, tmp_path: Path) -> None:
        resources = self.resources(tmp_path)
        found = run_ranks(
            RankOrders(
                kind=self.kind,
                student=self.component,
                student_options=self.options_in(tmp_path),
                checkpoint=str(self.checkpoint(tmp_path).path),
                snapshot=str(publish_samples(tmp_path / "ranks-data", self.samples(tmp_path)).path),
                roots=folders_of(resources.roots),
                devices=resources.devices,
                folder=str(tmp_path / "ranks"),
            )
        )
        for rank, one in enumerate(found):
            assert one["worst_ratio"] <= CLOSE, f"rank {rank}: a ratio is {one['worst_ratio']} from 1 before any step"
        assert found[0]["tokens"] == found[1]["tokens"], "after a step the ranks draw different answers"
        check_close(found[0]["logprobs"], found[1]["logprobs"], "after a step the ranks have different weights")

    def sampled(self, policy: Policy, folder: Path) -> list[Rollout]:
        """Rollouts of all samples."""
        return policy.rollouts(self.samples(folder), group=self.group, seed=_SEED)


class PolicyContract(_OffersPolicy, StudentContract):
    """Contract of a student that offers a policy: that of a student, and that of the policy of its trained weights."""


class RendererPolicyContract(_OffersPolicy, TrainedRendererContract):
    """The same of a renderer; each rollout's outcome has the picture that was made."""

    def test_outcomes_have_their_picture(self, tmp_path: Path) -> None:
        with self.policy(tmp_path) as policy:
            for rollout in self.sampled(policy, tmp_path):
                image = rollout.outcome.image
                assert image is not None, f"{rollout.sample.image_id}: a renderer's rollout without a picture"
                assert min(image.size()) > 0


def _said(rollout: Rollout) -> tuple[Any, ...]:
    outcome = rollout.outcome
    made = (outcome.graph, outcome.text, outcome.faults)
    return rollout.sample.image_id, rollout.part, rollout.tokens, rollout.logprobs, made, rollout.group


def values(tensors: Sequence[Any]) -> list[list[float]]:
    """Log-probabilities as numbers."""
    return [list(map(float, one.detach().tolist())) for one in tensors]


def copied(value: Any) -> Any:
    """A tensor that later steps do not change."""
    return value.detach().clone() if hasattr(value, "detach") else value


def check_ratio(rollouts: Sequence[Rollout], now: Sequence[Any]) -> None:
    """Every token has the probability that it was drawn with."""
    drawn = [list(rollout.logprobs) for rollout in rollouts]
    check_close(drawn, values(now), "logprobs are not those of the distribution that rollouts drew from")


def check_close(expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]], fault: str) -> None:
    """As many numbers, and none further off than a ratio of `CLOSE`."""
    assert [len(one) for one in found] == [len(one) for one in expected], "a tensor has another length than its tokens"
    for one, other in zip(expected, found, strict=True):
        for before, now in zip(one, other, strict=True):
            assert abs(math.exp(now - before) - 1) <= CLOSE, f"{fault}: {before} became {now}"


def take_step(policy: Policy, rollouts: Sequence[Rollout]) -> None:
    """A step towards what was sampled in the first of each group, away from the others."""
    now = policy.logprobs(rollouts)
    weights = [
        1.0 if place == 0 or rollout.group != rollouts[place - 1].group else -0.5
        for place, rollout in enumerate(rollouts)
    ]
    loss = -sum(weight * one.sum() for weight, one in zip(weights, now, strict=True))
    parameters = list(policy.parameters())
    assert parameters, "there is nothing to learn"
    for one in parameters:
        one.grad = None
    loss.backward()
    gradients = [one.grad for one in parameters if one.grad is not None]
    assert any(float(one.detach().abs().max()) > 0 for one in gradients), "no parameter has a gradient"
    for one in parameters:
        if one.grad is not None:
            one.data.add_(one.grad, alpha=-_RATE)
