"""What a training says while it runs: figures that are kept, and a line now and then, which becomes the step's log."""

from __future__ import annotations

import resource
import sys
from typing import Any, Final

import torch

from sgforge.stages import Resources
from sgforge_robin.training.loop import StepReport
from sgforge_robin.training.stream import PackedStream

__all__ = ["Progress"]

_EVERY: Final = 10
_PEAKS: Final = {"H100": 989e12, "H200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 operations a second, by a part of the device's name (their data sheets)."""


class Progress:
    """Losses and speed of a training of `steps` steps of a model of `weights` numbers; `loss` is the last step's.

    Reported: `loss` of every step; of every tenth `tokens_s`, positions a second of all processes; `memory_gb`, the
    most this process has held, on its device where that is CUDA; and `mfu`, 6 x weights x positions a second over what
    the devices of all processes could do, where that is known.
    """

    def __init__(self, steps: int, stream: PackedStream, weights: int, resources: Resources) -> None:
        self._steps = steps
        self._stream = stream
        self._weights = weights
        self._resources = resources
        self._tokens = 0
        self._seconds = 0.0
        self.loss = 0.0

    def report(self, step: StepReport) -> None:
        """Take note of a step, and say a line of every tenth."""
        self.loss = step.loss
        self._tokens += step.tokens
        self._seconds += step.seconds
        tell = self._resources.report
        tell("loss", step.loss, step.step)
        if step.step % _EVERY and step.step != self._steps:
            return
        speed, memory = self._tokens / max(self._seconds, 1e-9), self._memory_gb()
        tell("tokens_s", speed, step.step)
        tell("memory_gb", memory, step.step)
        share = ""
        if peak := _peak(self._resources.device):
            mfu = 6 * self._weights * speed / (peak * self._resources.worker.world)
            tell("mfu", mfu, step.step)
            share = f", MFU {mfu:.3f}"
        sys.stdout.write(
            f"step {step.step} of {self._steps}: loss {step.loss:.4f}, {speed:,.0f} tokens/s, "
            f"rows filled to {self._stream.efficiency:.1%}, {memory:.1f} GB{share}\n"
        )
        sys.stdout.flush()
        self._tokens, self._seconds = 0, 0.0

    def _memory_gb(self) -> float:
        if self._resources.device.startswith("cuda"):
            return float(torch.cuda.max_memory_allocated(self._resources.device)) / 2**30
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30


def _peak(device: str) -> float | None:
    """Operations a second that a device could do, None where that is not known."""
    if not device.startswith("cuda"):
        return None
    name: Any = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _PEAKS.items() if part in name), None)
