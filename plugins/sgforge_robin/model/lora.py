"""Low-rank adapters in the layers of the language model (Hu et al. 2021, "LoRA", section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LowRank", "adapters", "add_adapters", "merged"]


class LowRank(nn.Module):
    """A linear layer whose weights stay, and beside it two narrow ones that learn: `base(x) + scale * up(down(x))`.

    It begins as the layer that it holds: `up` is zero. `scale` is 2 at any rank (ours; the paper's alpha is free).
    """

    scale = 2.0

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        weight = base.weight
        self.down = nn.Parameter(torch.empty(rank, base.in_features, dtype=weight.dtype, device=weight.device))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.base(values) + self.scale * functional.linear(functional.linear(values, self.down), self.up)
        return out

    @property
    def whole(self) -> Tensor:
        """The weights of the one linear layer that does the same."""
        return (self.base.weight.float() + self.scale * (self.up.float() @ self.down.float())).to(self.base.weight)


def add_adapters(layers: nn.Module, rank: int) -> None:
    """Give every linear layer below an adapter of this rank."""
    for module in list(layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and not isinstance(module, LowRank):
                setattr(module, name, LowRank(child, rank))


def adapters(model: nn.Module) -> Iterator[tuple[str, LowRank]]:
    """All adapters below, by name."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LowRank))


def merged(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights under the names it has without adapters, each adapter within its layer."""
    state: dict[str, Tensor] = dict(model.state_dict())
    for name, adapter in adapters(model):
        for part in ("down", "up"):
            del state[f"{name}.{part}"]
        state[f"{name}.weight"] = adapter.whole.detach()
        del state[f"{name}.base.weight"]
        if adapter.base.bias is not None:
            state[f"{name}.bias"] = state.pop(f"{name}.base.bias")
    return state
