"""What learns and how fast: parameter groups, and the schedule of their rates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from sgforge_robin.model.lora import adapters
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.stages import Stage

__all__ = ["clip", "freeze", "make_optimizer", "set_rates"]


def freeze(model: RobinModel, stage: Stage) -> None:
    """Let the parts with a rate learn, the CLIP head never, and freeze the others; with adapters only these."""
    for name, part in model.named_children():
        part.requires_grad_(name in stage.rates)
    if found := dict(adapters(model.language)):
        model.language.requires_grad_(False)
        for adapter in found.values():
            for value in (adapter.down, adapter.up):
                value.requires_grad_("language" in stage.rates)
    model.tower.freeze_head()


def make_optimizer(model: RobinModel, stage: Stage) -> torch.optim.AdamW:
    """AdamW over the parts that learn, each with its peak rate; biases, norms and scales without decay."""
    groups: list[dict[str, Any]] = []
    for name, rate in stage.rates.items():
        part = getattr(model, name)
        if part is None:
            continue
        learning = [value for value in part.parameters() if value.requires_grad]
        for decays in (True, False):
            own = [value for value in learning if (value.ndim > 1) == decays]
            if own:
                decay = stage.decay if decays else 0.0
                groups.append({"params": own, "lr": rate, "peak": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=model.table.weight.is_cuda)


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, warmup: float) -> None:
    """Set the rates of step `step` of `steps`: linear up over `warmup` of them, then a cosine down to zero."""
    rise = max(round(steps * warmup), 1)
    fall = 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))
    factor = (step + 1) / rise if step < rise else fall
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def clip(model: nn.Module, most: float = 1.0) -> None:
    """Scale the gradient down to a norm of `most`."""
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], most)
