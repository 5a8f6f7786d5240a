"""Several processes with one model: the process group, and gradients that are the mean over its ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, distributed

from sgforge.stages import Worker

__all__ = ["join", "share_gradients"]

_PIECE: Final = 2**24
"""Numbers that are sent at once."""


def join(worker: Worker, device: str) -> None:
    """Be one of the ranks of a process group, over NCCL on CUDA and else over gloo; alone, do nothing."""
    if worker.world > 1 and not distributed.is_initialized():
        on_cuda = device.startswith("cuda")
        if on_cuda:
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if on_cuda else "gloo")


def share_gradients(parameters: Iterable[Tensor]) -> None:
    """After every backward pass that reaches any of them, the gradients of all are the mean over the ranks.

    Every rank must make as many such passes. What one rank's pass did not reach counts as 0 there.
    """
    kept = [one for one in parameters if one.requires_grad]
    shared = _Shared(kept)
    for one in kept:
        one.register_post_accumulate_grad_hook(shared.began)


class _Shared:
    """The parameters of a model whose gradients are shared. Passes that accumulate add the mean of each."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self._parameters = parameters
        self._waits = False

    def began(self, parameter: Tensor) -> None:
        """A gradient came: share all at the end of this pass, when in its order they may come differently by rank."""
        if not self._waits:
            self._waits = True
            engine: Any = torch.autograd.Variable._execution_engine
            engine.queue_callback(self._share)

    @torch.no_grad()
    def _share(self) -> None:
        self._waits = False
        own = [one.grad is not None for one in self._parameters]
        reached = torch.tensor(own, dtype=torch.int32, device=self._parameters[0].device)
        distributed.all_reduce(reached, distributed.ReduceOp.MAX)
        piece: list[Tensor] = []
        for one in (one for one, is_reached in zip(self._parameters, reached.tolist(), strict=True) if is_reached):
            if one.grad is None:
                one.grad = torch.zeros_like(one)
            if piece and (piece[0].dtype != one.grad.dtype or sum(map(torch.numel, piece)) >= _PIECE):
                _mean(piece)
                piece = []
            piece.append(one.grad)
        if piece:
            _mean(piece)


def _mean(gradients: list[Tensor]) -> None:
    """Make these the mean over all ranks."""
    flat = torch.cat([one.flatten() for one in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for one, mean in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
        one.copy_(mean.view_as(one))
