"""A Robin in shares: each rank keeps its part of weights, gradients and moments (`torch.distributed.fsdp`, FSDP2).

A unit's ranks gather its weights together, so that all must call it as often and in one order. They have unequal rows:
where one has none, or none that speaks, it passes a single position of no worth through the language model.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from sgforge_robin.encoding import Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.forward import Attention
from sgforge_robin.training.loss import Share, row_loss
from sgforge_robin.training.ranks import Ranks

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

    Each layer of the language model is a unit, gathered where it computes and let go again; the rest is one more, held
    from a row's first product to its last gradient. With `mixed` layers are gathered in bfloat16; their shares, the
    sums of their gradients and all else stay float32.
    """

    def __init__(self, model: RobinModel, ranks: Ranks, mixed: bool = False) -> None:
        self.model = model
        self._ranks = ranks
        self._empty = _without_weights(model)
        on_cuda = distributed.get_backend() == "nccl"
        mesh = init_device_mesh("cuda" if on_cuda else "cpu", (distributed.get_world_size(),))
        layers = list(model.language.base_model.layers)
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for layer in layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy if mixed else MixedPrecisionPolicy())
        within = {id(value) for layer in layers for value in layer.parameters()}
        self._rest = [
            name for name, value in model.named_parameters() if value.requires_grad and id(value) not in within
        ]
        model.language.base_model.register_forward_pre_hook(_led_through, with_kwargs=True)
        self._row_loss: Any = fully_shard(_RowLoss(model), mesh=mesh)
        for unit in (*layers, self._row_loss):
            # Sums, not means: losses are divided by what all ranks have.
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)
        self._reached: set[str] = set()

    def passes(self, rows: Sequence[Sequence[Example]]) -> list[Pass]:
        """As many on every rank, one a row as far as there are any."""
        every = self._ranks.told([_speaks(row) for row in rows])
        count = max(map(len, every))
        speaks = [any(place < len(one) and one[place] for one in every) for place in range(count)]
        return [Pass(rows[place] if place < len(rows) else None, speaks[place]) for place in range(count)]

    def loss(self, one: Pass, share: Share, attention: Attention | None) -> Tensor:
        """The loss of a row, 0 of none; its gradients are shared out when its backward pass is done."""
        # A product behind the unit: what it asks for at the pass's end comes before what the unit does there.
        loss: Tensor = self._row_loss(one, share, attention) * 1.0
        engine: Any = torch.autograd.Variable._execution_engine
        loss.register_hook(lambda gradient: engine.queue_callback(self._complete))
        return loss

    def _complete(self) -> None:
        """Give a gradient of 0 to what this rank's pass did not reach: all add up the same numbers."""
        weights = dict(self.model.named_parameters())
        for name in self._rest:
            value = weights[name]
            assert not isinstance(value, DTensor)  # the unit is still gathered
            if value.grad is None:
                value.grad = torch.zeros_like(value)
            else:
                self._reached.add(name)

    def finish(self) -> None:
        """Take the gradients of 0 away from what no rank reached: it does not learn in this step."""
        weights = dict(self.model.named_parameters())
        flags = [name in self._reached for name in self._rest]
        reached = torch.tensor(flags, dtype=torch.int32, device=self.model.table.weight.device)
        distributed.all_reduce(reached, distributed.ReduceOp.MAX)
        for name, is_reached in zip(self._rest, reached.tolist(), strict=True):
            if not is_reached:
                weights[name].grad = None
        self._reached.clear()

    def whole(self) -> RobinModel:
        """On rank 0 a model of its own with all weights, on the CPU; the others have only helped, and get their share.

        It ends the use of this one.
        """
        is_first = self._ranks.worker.rank == 0
        for shared, empty in zip(self.model.parameters(), self._empty.parameters(), strict=True):
            assert isinstance(shared, DTensor)
            full = shared.detach().full_tensor()
            if is_first:
                empty.data = full.cpu()
        return self._empty if is_first else self.model


class _RowLoss(nn.Module):
    """The loss of a pass as one module, around all that it may call."""

    def __init__(self, model: RobinModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, one: Pass, share: Share, attention: Attention | None) -> Tensor:
        loss = torch.zeros((), device=self.model.table.weight.device, requires_grad=True)
        if one.row is not None:
            loss = loss + row_loss(self.model, one.row, share, attention)
        return loss + self._nothing_said() if one.speaks and not _speaks(one.row or ()) else loss

    def _nothing_said(self) -> Tensor:
        """0, with gradients of 0 for every weight of the language model's layers."""
        language, table = self.model.language, self.model.table
        device = table.weight.device
        language.eval()  # one position is not worth computing again, nor compiling
        with torch.compiler.set_stance("force_eager"):
            hidden: Tensor = language.base_model(
                inputs_embeds=torch.zeros(1, 1, table.embedding_dim, device=device),
                attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
                position_ids=torch.zeros(1, 1, dtype=torch.long, device=device),
                use_cache=False,
            ).last_hidden_state
        language.train()
        return hidden.float().sum() * 0.0


def _speaks(row: Sequence[Example]) -> bool:
    """Whether words are learnt from a row: it passes through the language model."""
    return any(label >= 0 for example in row for branch in example.branches for label in branch.labels)


def _led_through(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A backward pass goes through all layers, also where nothing learns before them: on every rank."""
    embeds: Tensor = named["inputs_embeds"]
    if torch.is_grad_enabled() and not embeds.requires_grad:
        embeds.requires_grad_()
    return given, named


def _without_weights(model: RobinModel) -> RobinModel:
    """A copy of it, but for its weights: each of them is of size 0."""
    memo: dict[int, Any] = {
        id(value): nn.Parameter(torch.empty(0, dtype=value.dtype), requires_grad=value.requires_grad)
        for value in model.parameters()
    }
    return copy.deepcopy(model, memo)
