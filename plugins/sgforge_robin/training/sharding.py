"""A training's passes through a Robin that each rank has all of, or a share of (`sgforge_robin.training.shares`).

Ranks have unequal rows: where one has none, or none that speaks, it passes a single position of no worth through the
language model.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from sgforge_robin.encoding import Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.forward import Attention
from sgforge_robin.training.loss import Share, row_loss
from sgforge_robin.training.ranks import Ranks
from sgforge_robin.training.shares import Shares, nothing_said

__all__ = ["Pass", "ShardedRobin", "WholeRobin"]


@attrs.frozen(eq=False)
class Pass:
    """One forward and backward pass: of `row`, or of none. `speaks`: whether the row of any rank learns words."""

    row: Sequence[Example] | None
    speaks: bool = False


@attrs.frozen(eq=False)
class WholeRobin:
    """A Robin that every rank has all of; the gradients of a step are added up."""

    model: RobinModel
    ranks: Ranks

    def passes(self, rows: Sequence[Sequence[Example]]) -> list[Pass]:
        """One a row."""
        return [Pass(row) for row in rows]

    def loss(self, one: Pass, share: Share, attention: Attention | None) -> Tensor:
        """The loss of a row."""
        assert one.row is not None
        return row_loss(self.model, one.row, share, attention)

    def finish(self) -> None:
        """Add up the gradients of all ranks."""
        self.ranks.sum_gradients(self.model.parameters())


class ShardedRobin:
    """A Robin of which every rank has a share. What is to learn must be said before; all ranks make every call.

    With `mixed` its layers are gathered in bfloat16.
    """

    def __init__(self, model: RobinModel, ranks: Ranks, mixed: bool = False) -> None:
        self.model = model
        self._ranks = ranks
        self._shares = Shares(model, 1, mixed)  # sums: losses are divided by what all ranks have

    def passes(self, rows: Sequence[Sequence[Example]]) -> list[Pass]:
        """As many on every rank, one a row as far as there are any."""
        every = self._ranks.told([_speaks(row) for row in rows])
        count = max(map(len, every))
        speaks = [any(place < len(one) and one[place] for one in every) for place in range(count)]
        return [Pass(rows[place] if place < len(rows) else None, speaks[place]) for place in range(count)]

    def loss(self, one: Pass, share: Share, attention: Attention | None) -> Tensor:
        """The loss of a row, 0 of none; its gradients are shared out when its backward pass is done."""
        return self._shares.through(lambda: self._loss(one, share, attention))

    def _loss(self, one: Pass, share: Share, attention: Attention | None) -> Tensor:
        loss = torch.zeros((), device=self.model.table.weight.device, requires_grad=True)
        if one.row is not None:
            loss = loss + row_loss(self.model, one.row, share, attention)
        return loss + nothing_said(self.model) if one.speaks and not _speaks(one.row or ()) else loss

    def finish(self) -> None:
        """What no rank reached has no gradient."""
        self._shares.forget_unreached()

    def whole(self) -> RobinModel:
        """On rank 0 a model of its own with all weights, on the CPU; the others have only helped, and get their share.

        It ends the use of this one.
        """
        is_first, plain = self._ranks.worker.rank == 0, self._shares.plain
        for (_, shared), empty in zip(self._shares.held(), plain.parameters(), strict=True):
            assert isinstance(shared, DTensor)
            full = shared.detach().full_tensor()
            if is_first:
                empty.data = full.cpu()
        return plain if is_first else self.model


def _speaks(row: Sequence[Example]) -> bool:
    """Whether words are learnt from a row: it passes through the language model."""
    return any(label >= 0 for example in row for branch in example.branches for label in branch.labels)
