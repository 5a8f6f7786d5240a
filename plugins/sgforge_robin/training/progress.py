"""What a training says while it runs: a line now and then on its standard output, which becomes the step's log."""

from __future__ import annotations

import sys
from typing import Final

import torch

from sgforge_robin.training.loop import StepReport
from sgforge_robin.training.stream import PackedStream

__all__ = ["Progress"]

_EVERY: Final = 10


class Progress:
    """Losses and speed of a training of `steps` steps; `loss` is the last step's."""

    def __init__(self, steps: int, stream: PackedStream) -> None:
        self._steps = steps
        self._stream = stream
        self._tokens = 0
        self._seconds = 0.0
        self.loss = 0.0

    def report(self, step: StepReport) -> None:
        """Take note of a step, and say a line of every tenth."""
        self.loss = step.loss
        self._tokens += step.tokens
        self._seconds += step.seconds
        if step.step % _EVERY and step.step != self._steps:
            return
        speed = self._tokens / max(self._seconds, 1e-9)
        memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GB" if torch.cuda.is_initialized() else ""
        sys.stdout.write(
            f"step {step.step} of {self._steps}: loss {step.loss:.4f}, {speed:,.0f} tokens/s, "
            f"rows filled to {self._stream.efficiency:.1%}{memory}\n"
        )
        sys.stdout.flush()
        self._tokens, self._seconds = 0, 0.0
