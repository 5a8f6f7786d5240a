"""A model in shares, by FSDP2 (`torch.distributed.fsdp`): its units, what gathers them, what passes through all of it.

A unit's ranks gather its weights together, so that all must call it as often and in one order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from sgforge_robin.model.robin import RobinModel

__all__ = ["Shares", "nothing_said"]


class Shares:
    """A model of which every rank has a share. What is to learn must be said before; all ranks make every call.

    Each layer of the language model is a unit, gathered where it computes and let go again; the rest is one more, held
    from a pass's first product to its last gradient. Gradients are the sum over the ranks, divided by `divisor`. With
    `mixed` layers are gathered in bfloat16; their shares, the sums of their gradients and all else stay float32.

    `model` passes with gradient, within `through`. `plain` is a copy of it that has weights while they are gathered.
    """

    def __init__(self, model: RobinModel, divisor: int, mixed: bool = False) -> None:
        self.model = model
        self.plain = _without_weights(model)
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
        self._root: Any = fully_shard(_Around(model), mesh=mesh)
        for unit in (*layers, self._root):
            unit.set_gradient_divide_factor(float(divisor))
            unit.set_force_sum_reduction_for_comms(True)
        self._reached: set[str] = set()

    def through(self, compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` finds with `model`; its gradients are shared out when its backward pass is done."""
        # A product behind the unit: what it asks for at the pass's end comes before what the unit does there.
        found: Tensor = self._root(compute) * 1.0
        engine: Any = torch.autograd.Variable._execution_engine
        if found.requires_grad:
            found.register_hook(lambda gradient: engine.queue_callback(self._complete))
        return found

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

    def forget_unreached(self) -> None:
        """Take the gradients of 0 away from what no rank reached: it does not learn in this step."""
        weights = dict(self.model.named_parameters())
        flags = [name in self._reached for name in self._rest]
        reached = torch.tensor(flags, dtype=torch.int32, device=self.model.table.weight.device)
        distributed.all_reduce(reached, distributed.ReduceOp.MAX)
        for name, is_reached in zip(self._rest, reached.tolist(), strict=True):
            if not is_reached:
                weights[name].grad = None
        self._reached.clear()

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """This rank's share of each weight, by its name in the model."""
        self._root.reshard()  # a pass without a backward one has left it gathered
        return self.model.named_parameters()

    @contextmanager
    def gathered(self, weights: Sequence[Tensor] | None = None) -> Iterator[RobinModel]:
        """`plain` with all weights, or with these ones, to be passed as often as each rank likes, without gradient."""
        shared = weights or [value for _, value in self.held()]
        try:
            for value, empty in zip(shared, self.plain.parameters(), strict=True):
                assert isinstance(value, DTensor)
                empty.data = value.detach().full_tensor()
            yield self.plain
        finally:
            for empty in self.plain.parameters():
                empty.data = empty.data.new_empty(0)


class _Around(nn.Module):
    """Whatever is computed with a model as one module, around all that it may call."""

    def __init__(self, model: RobinModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()


def nothing_said(model: RobinModel) -> Tensor:
    """0, with gradients of 0 for every weight of the language model's layers: of a pass through a single position."""
    language, table = model.language, model.table
    device, was_training = table.weight.device, language.training
    language.eval()  # one position is not worth computing again, nor compiling
    with torch.compiler.set_stance("force_eager"):
        hidden: Tensor = language.base_model(
            inputs_embeds=torch.zeros(1, 1, table.embedding_dim, device=device),
            attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
            position_ids=torch.zeros(1, 1, dtype=torch.long, device=device),
            use_cache=False,
        ).last_hidden_state
    language.train(was_training)
    return hidden.float().sum() * 0.0


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
