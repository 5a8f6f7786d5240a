"""Tensors of which each rank has a share (DTensors): told as numbers, written whole, divided again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sgforge.stages.policies import Policy

__all__ = ["as_number", "divided", "divided_moments", "go_back_from_nothing", "is_share", "whole"]


def is_share(value: Any) -> bool:
    """Whether a tensor is this rank's share of one."""
    return hasattr(value, "full_tensor")  # none that is whole needs a torch that has DTensors


def as_number(value: Any) -> float:
    """A tensor of one number, for which all ranks ask together."""
    return float(value.full_tensor() if is_share(value) else value)


def go_back_from_nothing(policy: Policy) -> None:
    """A backward pass with gradients of 0, which other ranks may wait for; what is in shares has made its own."""
    held = [one for one in policy.parameters() if not is_share(one)]
    if held:
        sum(one.sum() * 0.0 for one in held).backward()


def whole(value: Any, keeps: bool) -> Any:
    """The same tree with whole tensors on the CPU, one after another; all ranks call, and those that `keep` have it."""
    if is_share(value):
        full = value.detach().full_tensor()
        return full.cpu() if keeps else None
    if isinstance(value, Mapping):
        return {name: whole(one, keeps) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(one, keeps) for one in value)
    return value


def divided(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A state of whole tensors with this rank's share of each that is in shares in `own`."""
    return {name: _share(value, own.get(name)) for name, value in state.items()}


def divided_moments(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's state of whole tensors with this rank's share of each that is of a weight's size."""
    weights = [value for group in optimizer.param_groups for value in group["params"]]
    moments = {
        place: {name: _share(value, weights[place]) for name, value in own.items()}
        for place, own in state["state"].items()
    }
    return {**state, "state": moments}


def _share(value: Any, like: Any) -> Any:
    """This rank's share of a tensor, where another of the same shape is in shares; nothing is sent."""
    if not (is_share(like) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    from torch.distributed.tensor import distribute_tensor

    # A copy, as the tensor may lie in a file; what the other ranks need they read themselves.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None).clone()
