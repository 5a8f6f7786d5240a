"""The loop: steps of packed rows until the stage is done, saved on the way, resumed where it was cut."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import torch
from torch import Tensor

from sgforge.errors import StepError
from sgforge_robin.encoding import Example
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.ahead import ahead
from sgforge_robin.training.forward import Attention
from sgforge_robin.training.loss import Share
from sgforge_robin.training.optimizer import clip, freeze, make_optimizer, set_rates
from sgforge_robin.training.ranks import Ranks
from sgforge_robin.training.sharding import Pass, ShardedRobin, WholeRobin
from sgforge_robin.training.stages import Stage
from sgforge_robin.training.state import State, load_state, save_state
from sgforge_robin.training.stream import PackedStream, Position

__all__ = ["Life", "StepReport", "share_of", "take_step", "train"]


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
    `recomputed`: compute activations again instead of keeping them. `compiled`: compile layers and blocks. `sharded`:
    of several processes each keeps a share of weights, gradients and moments.
    """

    folder: Path
    plan: str
    save_every: int
    report: Callable[[StepReport], None]
    is_stopped: Callable[[], bool]
    mixed: bool = False
    recomputed: bool = False
    compiled: bool = False
    sharded: bool = False


def train(
    model: RobinModel, stream: PackedStream, stage: Stage, steps: int, life: Life, ranks: Ranks = Ranks()
) -> RobinModel:
    """Train for `steps` steps in all, going on from a state of the same plan if there is one; what is trained then.

    That is the model itself; of one that was sharded it is another, on the CPU, on the first rank, and on the others
    nothing to go on with.

    Killed at any step and started again, it takes the same steps with the same losses: to the bit on a CPU with as
    many threads and processes. Several processes share the rows of each step, so that with another number of them it
    goes on too, equal up to rounding. A loss that is zero or not finite stops it with the images named; so does running
    out of memory, with advice.
    """
    model.train()
    freeze(model, stage)
    if life.recomputed:
        model.recompute_activations()
    if life.compiled:
        model.compile_parts()
    sharded = ShardedRobin(model, ranks, life.mixed) if life.sharded and ranks.worker.world > 1 else None
    optimizer = make_optimizer(model, stage)
    state = load_state(life.folder, model, optimizer, life.plan, ranks) or State(0, Position())
    last = state.position.epoch
    coming = stream.steps(state.position, ranks.worker)
    # Beside a CPU that computes, reading ahead would only take its time.
    for rows, position in coming if model.table.weight.device.type == "cpu" else ahead(coming):
        if state.step >= steps:
            break
        started = time.perf_counter()
        share = share_of(rows, ranks)
        if not share.images:
            if position.epoch > last + 1:
                raise stream.nothing(stream.counts + ranks.counted(stream.unreadable))
            continue
        last = position.epoch
        set_rates(optimizer, state.step, steps, stage.warmup)
        loss = take_step(model, optimizer, rows, share, life.mixed, ranks, sharded=sharded)
        state = State(state.step + 1, position)
        life.report(StepReport(state.step, loss, share.tokens, time.perf_counter() - started))
        (stopped,) = ranks.totals([life.is_stopped()])
        if stopped or (state.step % life.save_every == 0 and state.step < steps):
            save_state(life.folder, state, model, optimizer, life.plan, ranks)
        if stopped:
            ranks.totals([])  # none ends before the state is there
            raise StepError(f"asked to stop after step {state.step} of {steps}: run it again to go on from there")
    model = model if sharded is None else sharded.whole()
    model.eval()
    model.run_as_written()
    return model


def share_of(rows: Sequence[Sequence[Example]], ranks: Ranks = Ranks()) -> Share:
    """What the rows of all ranks hold together."""
    own = [example for row in rows for example in row]
    learnt = sum(label >= 0 for example in own for one in example.branches for label in one.labels)
    taught = sum(example.pairs is not None for example in own)
    totals = ranks.totals([learnt, taught, len(own), sum(example.total for example in own)])
    return Share(*map(int, totals))


def take_step(
    model: RobinModel,
    optimizer: torch.optim.Optimizer,
    rows: Sequence[Sequence[Example]],
    share: Share,
    mixed: bool = False,
    ranks: Ranks = Ranks(),
    attention: Attention | None = None,
    sharded: ShardedRobin | None = None,
) -> float:
    """One update; the loss a learnt position, and that of the pair head an image, added up.

    Learnt positions weigh alike, and so do images, whichever rank has them. `sharded`: the model in shares, if it is.
    """
    optimizer.zero_grad(set_to_none=True)
    way = sharded or WholeRobin(model, ranks)
    parts, device = [], model.table.weight.device.type
    for one in way.passes(rows):
        with _advised(one), torch.autocast(device, torch.bfloat16, enabled=mixed):
            loss = way.loss(one, share, attention)
        with _advised(one):
            if loss.requires_grad:  # a row of pairs alone teaches nothing where their head is not to learn
                loss.backward()
        if one.row is not None:
            parts.append(loss.detach())
    told = _on_the_way(parts)
    way.finish()
    clip(model)
    optimizer.step()
    values = told()  # the one wait for the device in a step, for its backward pass: the update is under way meanwhile
    for row, value in zip(rows, values, strict=True):
        if not math.isfinite(value) or value == 0:
            names = ", ".join(example.image_id for example in row)
            raise StepError(f"the loss is {value} at the row of images {names}: look at their answers")
    (loss,) = ranks.totals([math.fsum(values)])
    return loss


@contextmanager
def _advised(one: Pass) -> Iterator[None]:
    """Say what to change where memory runs out."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StepError(
            f"out of memory at a row of {sum(example.total for example in one.row or ())} positions: lower capacity, "
            'set checkpointing = true, or sharding = "sharded" and processes = N in the step\'s run table'
        ) from error


def _on_the_way(losses: Sequence[Tensor]) -> Callable[[], list[float]]:
    """Losses that are fetched from their device, without a wait before they are asked for."""
    if not losses:
        return list
    kept = torch.stack(list(losses)).to("cpu", non_blocking=True)
    event = torch.cuda.Event() if losses[0].is_cuda else None
    if event is not None:
        event.record()

    def fetch() -> list[float]:
        if event is not None:
            event.synchronize()
        found: list[float] = kept.tolist()
        return found

    return fetch
