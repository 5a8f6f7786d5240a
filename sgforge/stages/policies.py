"""Policies: students and renderers as a refiner sees them, which samples answers, weighs them by rewards, and learns.

Either offers one with `register(..., offers=("policy",))` and a method `policy(resources) -> Policy`. A refiner
finds the student of the nearest weights in `resources.student` and never knows which model it refines:

    policy = resources.student.policy(resources)
    rollouts = policy.rollouts(samples, group=8, seed=resources.seed)
    now = policy.logprobs(rollouts)           # a tensor of each rollout, with gradient

Tensors are torch's, on whatever device the policy chose; nothing here imports torch.

In a training of several processes each has a policy of its own for one and the same model. The policy places and shards
itself, and `torch.distributed` is initialised when `policy` returns. Every rank makes the same calls in the same order,
backward passes included, each with rollouts of its own: what a policy does in a call may need all of them. So a rank
that has one image less repeats one, with weight 0. After a backward pass the gradients are the mean over the ranks.

Where each rank has a share of the model, parameters, gradients and states are DTensors (`torch.distributed.tensor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

from sgforge.graph import Sample
from sgforge.stages.rewards import Outcome

if TYPE_CHECKING:
    from sgforge.stages.values import Resources

__all__ = ["GivesPolicy", "Policy", "Rollout", "Tensor"]

Tensor: TypeAlias = Any
"""A `torch.Tensor`."""


@attrs.frozen(kw_only=True, eq=False)
class Rollout:
    """One answer that a policy sampled.

    `sample`: the image it is about. `part`: the index, in `sample.graph.all.regions`, of the subject that was asked
    about; None where the answer is about all of the image. `tokens`: T numbers, the answer alone, its end included.
    `logprobs`: T numbers, the natural logarithm of the probability that each token was drawn with: temperature, top-p
    and the mask of tokens that may come are part of it, so none is -inf. `outcome`: what the answer says. `group`:
    answers to one question have one number, from 0 within a call. `memo`: what the policy itself needs to recompute
    them, such as the tokens that top-p had left.
    """

    sample: Sample
    part: int | None = None
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    outcome: Outcome
    group: int
    memo: Any = None


class Policy(Protocol):
    """A student's model that samples answers and is learnt from them."""

    def rollouts(self, samples: Sequence[Sample], /, group: int, seed: int) -> list[Rollout]:
        """Sample `group` answers to each question about each image, group by group, in the order of the samples.

        What the questions are is the policy's own: one an image, or one a subject. Without gradient, dropout off.
        Equal weights, samples, `group` and `seed` give equal rollouts. An image that cannot be read has none.
        """
        ...

    def logprobs(self, rollouts: Sequence[Rollout], /) -> list[Tensor]:
        """The log-probabilities of exactly these tokens with the weights as they are now, with gradient.

        One tensor of shape (T,), float32, for each rollout, T its tokens; by the same distribution that `rollouts`
        draws from, dropout off. What could be drawn then stays what can be drawn, so that no step makes one -inf.
        Before the first step exp(logprobs - rollout.logprobs) is 1 within 1e-5. Without rollouts there is nothing to go
        back from: a policy in shares, whose other ranks wait for that, does so within the call.
        """
        ...

    def parameters(self) -> Iterable[Tensor]:
        """What an optimiser may change: those that take a gradient, in a fixed order; what this rank has of them."""
        ...

    def reference(self) -> Policy:
        """The policy as it is now, for the distance from it: no later step changes it, and it takes no gradient."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Its state on this rank, tensors by name, to go on from after a kill.

        Refiners write DTensors of it whole, and give back to each rank its share, so that another number of ranks goes
        on too.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take up a state of `state_dict`."""
        ...

    def save(self, folder: Path, /) -> None:
        """Write all files of a checkpoint that its student loads into the folder; rank 0 writes, every rank calls."""
        ...


class GivesPolicy(Protocol):
    """A student, or a renderer, that offers a policy."""

    def policy(self, resources: Resources, /) -> Policy:
        """The policy of its weights, `resources.checkpoint`, on `resources.devices`.

        The student is built from its options and not set up: this loads what it needs. Model and parts in `resources`
        are its own, the rest is the refiner's.
        """
        ...
