"""A vision-language model in shares, by FSDP2 (`torch.distributed.fsdp`): each rank has its part of every weight.

A unit's ranks gather its weights together, so that all must call it as often and in one order. Robin has its own, for
no plugin imports another, and the core none of torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from sgforge.errors import StepError
from sgforge_grpo.refining.ranks import Ranks
from sgforge_grpo.refining.shares import is_share

__all__ = ["Row", "Shares"]

Row: TypeAlias = Callable[[Any], Tensor]
"""One pass through a model that is given: numbers (K,) that it finds."""


class Shares:
    """A model of which every rank has a share; all ranks make every call. What is to learn must be said before.

    Each layer of the language model is a unit, gathered where it computes and let go again; the rest, towers included,
    is one more, held from a pass's first product to its last gradient. Gradients are the mean over the ranks.

    `plain` is a copy of the model that has weights while they are gathered. `token`: one that stands for no picture.
    """

    def __init__(self, model: Any, ranks: Ranks, token: int) -> None:
        decoder = _decoder(model)
        self._model = model
        self._ranks = ranks
        self._token = token
        self.plain = _without_weights(model)
        on_cuda = distributed.get_backend() == "nccl"
        mesh = init_device_mesh("cuda" if on_cuda else "cpu", (ranks.world,))
        units = [fully_shard(layer, mesh=mesh) for layer in decoder.layers]
        within = {id(value) for layer in units for value in layer.parameters()}
        self._rest = [
            name for name, value in model.named_parameters() if value.requires_grad and id(value) not in within
        ]
        decoder.register_forward_pre_hook(_led_through, with_kwargs=True)
        self._root: Any = fully_shard(_Around(model), mesh=mesh)
        for unit in (*units, self._root):
            unit.set_gradient_divide_factor(float(ranks.world))
            unit.set_force_sum_reduction_for_comms(True)

    def learnt(self, rows: Sequence[Row]) -> list[Tensor]:
        """What each row finds, with gradient, as one pass, as long on every rank: one that has fewer asks nothing.

        A rank without any has nothing to go back from, so it does so at once.
        """
        missing = max(self._ranks.gather(len(rows))) - len(rows)
        lengths: list[int] = []

        def compute() -> Tensor:
            found = [row(self._model) for row in rows]
            lengths.extend(map(len, found))
            return torch.cat([*found, *(self._nothing_asked()[None] for _ in range(missing))])

        if not rows and not missing:
            return []
        # A product behind the unit: what it asks for at the pass's end comes before what the unit does there.
        every: Tensor = self._root(compute) * 1.0
        engine: Any = torch.autograd.Variable._execution_engine
        every.register_hook(lambda gradient: engine.queue_callback(self._complete))
        if not rows:
            every.sum().backward()  # type: ignore[no-untyped-call]
        return list(every[: sum(lengths)].split(lengths)) if rows else []

    def _nothing_asked(self) -> Tensor:
        """0, with gradients of 0 for every weight of the language model's layers: of a text of one token."""
        one = torch.tensor([[self._token]], device=next(self._model.parameters()).device)
        logits: Tensor = self._model(input_ids=one, attention_mask=torch.ones_like(one), use_cache=False).logits
        return logits.float().sum() * 0.0

    def _complete(self) -> None:
        """Give a gradient of 0 to what this rank's pass did not reach: all add up the same numbers."""
        weights = dict(self._model.named_parameters())
        for name in self._rest:
            if weights[name].grad is None:
                weights[name].grad = torch.zeros_like(weights[name])

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """This rank's share of each weight, by its name in the model."""
        self._root.reshard()  # a pass without a backward one has left it gathered
        found: Iterator[tuple[str, Tensor]] = self._model.named_parameters()
        return found

    def frozen(self) -> tuple[Tensor, ...]:
        """Shares as they are now, to be gathered later; what does not learn is no copy."""
        return tuple(value.detach().clone() if value.requires_grad else value.detach() for _, value in self.held())

    @contextmanager
    def gathered(self, weights: Sequence[Tensor] = ()) -> Iterator[Any]:
        """`plain` with all weights, or with these ones, to be passed as often as each rank likes, without gradient."""
        shared: list[Any] = list(weights) or [value for _, value in self.held()]
        try:
            for value, empty in zip(shared, self.plain.parameters(), strict=True):
                assert is_share(value)
                empty.data = value.detach().full_tensor()
            yield self.plain
        finally:
            for empty in self.plain.parameters():
                empty.data = empty.data.new_empty(0)


class _Around(nn.Module):
    """Whatever is computed with a model as one module, around all that it may call."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()


def _decoder(model: Any) -> Any:
    """The language model, which has its layers in a list."""
    found = model.get_decoder()
    if not isinstance(getattr(found, "layers", None), nn.ModuleList):
        raise StepError(
            f'a model of type {model.config.model_type} has no list of layers to share: say sharding = "replicated"'
        )
    return found


def _led_through(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A backward pass goes through all layers, also where nothing learns before them: on every rank."""
    embeds = named.get("inputs_embeds")
    if torch.is_grad_enabled() and embeds is not None and not embeds.requires_grad:
        embeds.requires_grad_()
    return given, named


def _without_weights(model: Any) -> Any:
    """A copy of it, but for its weights: each of them is of size 0."""
    memo: dict[int, Any] = {
        id(value): nn.Parameter(torch.empty(0, dtype=value.dtype), requires_grad=value.requires_grad)
        for value in model.parameters()
    }
    return copy.deepcopy(model, memo)
