"""Tensors on their way to a device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sent"]


def sent(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """The values on a device; to CUDA from pinned memory, so that nobody waits until what was asked before is done."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True).to(dtype or values.dtype)
    return values.to(device, dtype or values.dtype)
