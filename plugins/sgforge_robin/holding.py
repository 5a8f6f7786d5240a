"""How a policy holds its model: all of it on every rank, or a share of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, Self, TypeAlias

import attrs
import torch
from torch import Tensor

from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.ranks import Ranks
from sgforge_robin.training.shares import Shares, nothing_said

__all__ = ["Held", "InShares", "Row", "Whole"]

Row: TypeAlias = Callable[[RobinModel], Tensor]
"""A packed row: given a model, the log-probabilities (K,) of what it learns."""


class Held(Protocol):
    """A model as a policy holds it."""

    @property
    def model(self) -> RobinModel:
        """The model that answers; it may have weights only while they are gathered."""
        ...

    def gathered(self) -> AbstractContextManager[RobinModel]:
        """All of `model`, without gradient, for as many passes as this rank likes; all ranks enter together."""
        ...

    def learnt(self, rows: Sequence[Row], /) -> list[Tensor]:
        """What each row finds, with gradient; all ranks call, each with rows of its own."""
        ...

    def learning(self) -> Iterator[tuple[str, Tensor]]:
        """What learns, by name, in the model's order: what this rank has of it."""
        ...

    def frozen(self) -> Self:
        """The same as it is now: no step changes it, and nothing of it learns."""
        ...


@attrs.frozen(eq=False)
class Whole:
    """All of the model."""

    model: RobinModel

    def gathered(self) -> AbstractContextManager[RobinModel]:
        """The model."""
        return nullcontext(self.model)

    def learnt(self, rows: Sequence[Row], /) -> list[Tensor]:
        """Row by row."""
        return [row(self.model) for row in rows]

    def learning(self) -> Iterator[tuple[str, Tensor]]:
        """Those that take a gradient."""
        return ((name, value) for name, value in self.model.named_parameters() if value.requires_grad)

    def frozen(self) -> Self:
        """A copy of what learns; it shares what does not."""
        shared: dict[int, Any] = {id(value): value for value in self.model.parameters() if not value.requires_grad}
        return attrs.evolve(self, model=copy.deepcopy(self.model, shared).requires_grad_(False))


@attrs.frozen(eq=False)
class InShares:
    """A share of the model, gathered whole for passes without gradient and layer by layer for those with it.

    `then`: shares of the weights as they were, of one that is frozen.
    """

    shares: Shares
    ranks: Ranks
    then: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, model: RobinModel, ranks: Ranks, device: str) -> Self:
        """Give each rank its share of a model that every rank has loaded; gradients are the mean over the ranks."""
        shares = Shares(model, ranks.worker.world)
        shares.plain.to(device)
        return cls(shares, ranks)

    @property
    def model(self) -> RobinModel:
        """The model whose weights are gathered."""
        return self.shares.plain

    def gathered(self) -> AbstractContextManager[RobinModel]:
        """All weights, in float32."""
        return self.shares.gathered(self.then)

    def learnt(self, rows: Sequence[Row], /) -> list[Tensor]:
        """The rows as one pass, as long on every rank: one that has fewer passes single positions of no worth.

        A rank without any has nothing to go back from, so it does so at once.
        """
        model = self.shares.model
        missing = max(self.ranks.told(len(rows))) - len(rows)
        lengths: list[int] = []

        def compute() -> Tensor:
            found = [row(model) for row in rows]
            lengths.extend(map(len, found))
            return torch.cat([*found, *(nothing_said(model)[None] for _ in range(missing))])

        if not rows and not missing:
            return []
        every = self.shares.through(compute)
        if not rows:
            every.sum().backward()  # type: ignore[no-untyped-call]
        return list(every[: sum(lengths)].split(lengths)) if rows else []

    def learning(self) -> Iterator[tuple[str, Tensor]]:
        """Shares of those that take a gradient."""
        return ((name, value) for name, value in self.shares.held() if value.requires_grad)

    def frozen(self) -> Self:
        """Shares of their own of what learns; what does not learn is shared with this one."""
        then = [value.detach().clone() if value.requires_grad else value.detach() for _, value in self.shares.held()]
        return attrs.evolve(self, then=tuple(then))
