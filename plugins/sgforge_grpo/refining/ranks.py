"""The processes of one training as one: what each has to say, gathered by all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sgforge.stages import Worker

__all__ = ["Ranks", "share_gradients"]

T = TypeVar("T")


class Ranks:
    """One of `world` processes; alone it gathers from itself."""

    def __init__(self, worker: Worker) -> None:
        self.rank = worker.rank
        self.world = worker.world

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in their order; every rank must call."""
        if self.world == 1:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value)
        return found

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sum over the ranks by name."""
        found: dict[str, float] = {}
        for one in self.gather(dict(values)):
            for name, value in one.items():
                found[name] = found.get(name, 0.0) + value
        return found

    def share(self, items: Sequence[T]) -> tuple[list[T], int]:
        """This rank's of `items`, and how many of them count: one that has fewer repeats others, as all must call."""
        count = -(-len(items) // self.world)
        mine = list(items[self.rank :: self.world])
        return [*mine, *items[: count - len(mine)]], len(mine)


def share_gradients(parameters: Iterable[Any]) -> None:
    """After every backward pass that reaches any of these tensors, their gradients are the mean over the ranks.

    Every rank must make as many such passes. What one rank's pass did not reach counts as 0 there.
    """
    kept = [one for one in parameters if one.requires_grad]
    means = _Means(kept)
    for one in kept:
        one.register_post_accumulate_grad_hook(means.began)


class _Means:
    """Gradients that are shared when a pass ends: while it goes on they may come in another order on each rank."""

    def __init__(self, parameters: Sequence[Any]) -> None:
        self._parameters = parameters
        self._waits = False

    def began(self, parameter: Any) -> None:
        """A gradient came: share all at the end of this pass."""
        from torch.autograd import Variable

        if not self._waits:
            self._waits = True
            engine: Any = Variable._execution_engine
            engine.queue_callback(self._share)

    def _share(self) -> None:
        import torch
        from torch import distributed

        self._waits = False
        own = [one.grad is not None for one in self._parameters]
        reached = torch.tensor(own, dtype=torch.int32, device=self._parameters[0].device)
        distributed.all_reduce(reached, distributed.ReduceOp.MAX)
        for one, is_reached in zip(self._parameters, reached.tolist(), strict=True):
            if is_reached:
                one.grad = torch.zeros_like(one) if one.grad is None else one.grad
                distributed.all_reduce(one.grad)
                one.grad /= distributed.get_world_size()
