"""Several processes with one model: the process group, and gradients that are the mean or the sum over its ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import attrs
import torch
from torch import Tensor, distributed

from sgforge.stages import Worker

__all__ = ["Ranks", "join", "share_gradients"]

_T = TypeVar("_T")
_PIECE: Final = 2**24
"""Numbers that are sent at once."""


def join(worker: Worker, device: str) -> None:
    """Be one of the ranks of a process group, over NCCL on CUDA and else over gloo; alone, do nothing."""
    if worker.world > 1 and not distributed.is_initialized():
        on_cuda = device.startswith("cuda")
        if on_cuda:
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if on_cuda else "gloo")


@attrs.frozen
class Ranks:
    """The processes of a training, of which this is one; alone, nothing is sent."""

    worker: Worker = attrs.field(factory=Worker)

    def told(self, value: _T) -> list[_T]:
        """The value of every rank, in their order."""
        if self.worker.world == 1:
            return [value]
        # Through objects, so that it is the same over gloo and NCCL, and exact for counts.
        every: list[Any] = [None] * self.worker.world
        distributed.all_gather_object(every, value)
        return every

    def totals(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all ranks, in float64."""
        return [sum(column) for column in zip(*self.told(tuple(values)), strict=True)]

    def counted(self, counts: Counter[str]) -> Counter[str]:
        """The counts of all ranks, added up."""
        return sum(self.told(counts), Counter())

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Make every gradient the sum over the ranks; one that no rank has stays none."""
        if self.worker.world > 1:
            _reduce([one for one in parameters if one.requires_grad], 1)


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

    def _share(self) -> None:
        self._waits = False
        _reduce(self._parameters, distributed.get_world_size())


@torch.no_grad()
def _reduce(parameters: Sequence[Tensor], divisor: int) -> None:
    """Make the gradient of each the sum over the ranks, divided; what a rank has not counts as 0 there."""
    own = [one.grad is not None for one in parameters]
    reached = torch.tensor(own, dtype=torch.int32, device=parameters[0].device)
    distributed.all_reduce(reached, distributed.ReduceOp.MAX)
    piece: list[Tensor] = []
    for one in (one for one, is_reached in zip(parameters, reached.tolist(), strict=True) if is_reached):
        if one.grad is None:
            one.grad = torch.zeros_like(one)
        if piece and (piece[0].dtype != one.grad.dtype or sum(map(torch.numel, piece)) >= _PIECE):
            _reduce_piece(piece, divisor)
            piece = []
        piece.append(one.grad)
    if piece:
        _reduce_piece(piece, divisor)


def _reduce_piece(gradients: list[Tensor], divisor: int) -> None:
    flat = torch.cat([one.flatten() for one in gradients])
    distributed.all_reduce(flat)
    flat /= divisor
    for one, found in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
        one.copy_(found.view_as(one))
