"""The loop: steps of packed rows until the stage is done, saved on the way, resumed where it was cut."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import torch

from sgforge.errors import StepError
from sgforge_robin.encoding import Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.loss import packed_loss
from sgforge_robin.training.optimizer import clip, freeze, make_optimizer, set_rates
from sgforge_robin.training.stages import Stage
from sgforge_robin.training.state import State, load_state, save_state
from sgforge_robin.training.stream import PackedStream, Position

__all__ = ["Life", "StepReport", "train"]


@attrs.frozen
class StepReport:
    """What one step was: `loss` a learnt token, `tokens` its positions, `seconds` it took."""

    step: int
    loss: float
    tokens: int
    seconds: float


@attrs.frozen(eq=False)
class Life:
    """How a training lives: where its states go and how often, who is told of each step, who asks it to stop.

    `plan`: text that must be equal for a state to be resumed. `mixed`: compute in bfloat16, weights in float32.
    `recomputed`: compute activations again instead of keeping them. `compiled`: compile layers and blocks.
    """

    folder: Path
    plan: str
    save_every: int
    report: Callable[[StepReport], None]
    is_stopped: Callable[[], bool]
    mixed: bool = False
    recomputed: bool = False
    compiled: bool = False


def train(model: RobinModel, stream: PackedStream, stage: Stage, steps: int, life: Life) -> None:
    """Train for `steps` steps in all, going on from a state of the same plan if there is one.

    Killed at any step and started again, it takes the same steps with the same losses: to the bit on a CPU with as
    many threads. A loss that is zero or not finite stops it with the images named; so does running out of memory, with
    advice.
    """
    model.train()
    freeze(model, stage)
    if life.recomputed:
        model.recompute_activations()
    if life.compiled:
        model.compile_parts()
    optimizer = make_optimizer(model, stage)
    state = load_state(life.folder, model, optimizer, life.plan) or State(0, Position())
    for rows, position in stream.steps(state.position):
        if state.step >= steps:
            break
        started = time.perf_counter()
        set_rates(optimizer, state.step, steps, stage.warmup)
        loss = _step(model, optimizer, rows, life.mixed)
        state = State(state.step + 1, position)
        tokens = sum(example.total for row in rows for example in row)
        life.report(StepReport(state.step, loss, tokens, time.perf_counter() - started))
        stopped = life.is_stopped()
        if stopped or (state.step % life.save_every == 0 and state.step < steps):
            save_state(life.folder, state, model, optimizer, life.plan)
        if stopped:
            raise StepError(f"asked to stop after step {state.step} of {steps}: run it again to go on from there")
    model.eval()


def _step(model: RobinModel, optimizer: torch.optim.Optimizer, rows: Sequence[Sequence[Example]], mixed: bool) -> float:
    """One update; the loss a learnt position, and that of the pair head an image, added up.

    Learnt positions weigh alike, and so do images.
    """
    count = sum(label >= 0 for row in rows for example in row for one in example.branches for label in one.labels)
    taught = sum(example.pairs is not None for row in rows for example in row)
    optimizer.zero_grad(set_to_none=True)
    parts, device = [], model.table.weight.device.type
    for row in rows:
        try:
            with torch.autocast(device, torch.bfloat16, enabled=mixed):
                summed = packed_loss(model, row)
            part = summed.total / max(count, 1) + summed.pairs / max(taught, 1)
            part.backward()
        except torch.OutOfMemoryError as error:
            raise StepError(
                f"out of memory at a row of {sum(example.total for example in row)} positions: lower capacity, or set "
                "checkpointing = true"
            ) from error
        parts.append(part.detach())
    values = torch.stack(parts).tolist()  # the one place of a step that waits for the device
    for row, value in zip(rows, values, strict=True):
        if not math.isfinite(value) or value == 0:
            names = ", ".join(example.image_id for example in row)
            raise StepError(f"the loss is {value} at the row of images {names}: look at their answers")
    clip(model)
    optimizer.step()
    return math.fsum(values)
