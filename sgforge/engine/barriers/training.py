"""Training as a barrier: train and refine read a published snapshot and leave a checkpoint in the step's folder.

    <dataset>/steps/<fingerprint>/  out/             what the component writes; it resumes from what it finds there
                                    checkpoint.json  written last: there is a checkpoint only if this file is there
                                    log.txt          what a training in a child process printed

A component that was named trains in a child process, so that its crash costs the step and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.digests import folder_sha256
from sgforge.durable import make_folder, write_text
from sgforge.engine.executors.answering import goes_back, recorded
from sgforge.engine.executors.lifecycle import standing
from sgforge.engine.models.child_models import ModelAccess
from sgforge.engine.planning.components import ComponentSpec
from sgforge.errors import SgforgeError, StepError
from sgforge.stages import Checkpoint, Resources, Selection
from sgforge.text.blame import told

__all__ = ["SCRATCH", "TrainJob", "load_checkpoint", "train", "train_here", "write_json"]

_CHECKPOINT: Final = "checkpoint.json"
SCRATCH: Final = "scratch"
"""The folder for temporary files of a training in a process of its own."""
_GRACE: Final = 10.0
"""Seconds that a training has to save its state once it is asked to stop."""
_LOG_LINES: Final = 3


@attrs.frozen
class TrainJob:
    """One training: what runs, what it reads, where it writes, and what it needs to ask its model in its process."""

    step: str
    spec: ComponentSpec
    method: str
    snapshot: Path
    selection: Selection
    folder: Path
    resources: Resources
    access: ModelAccess | None = None

    @property
    def out(self) -> Path:
        """The folder that the component may write to."""
        return self.folder / "out"


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The finished checkpoint of a step's folder, None if there is none yet.

    One that lies elsewhere, or whose files are not those that the training left, is a `StepError`.
    """
    file = folder / _CHECKPOINT
    try:
        found = json.loads(file.read_text())
        path = folder / found["path"]
        checkpoint = Checkpoint(path, str(found["sha256"]), dict(found["metrics"]))
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise StepError(f"{file} describes no checkpoint ({error}); remove it to train again") from None
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StepError(f"{file} leads out of its folder: refused; remove it to train again")
    # Thrown away to save space: the training is done again rather than refused.
    if not path.is_dir():
        return None
    if folder_sha256(path) != checkpoint.sha256:
        raise StepError(
            f"{path} is damaged: its files are not those that the training left; delete {folder} to train again"
        )
    return checkpoint


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file of a step's folder: whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True))


async def train(job: TrainJob, stop: asyncio.Event) -> Checkpoint | None:
    """Train, or continue a training that was stopped; None if `stop` was set before it ended.

    Whatever goes wrong is a `StepError`; the dataset is not touched.
    """
    # The folder outlives runs, and whoever could write to it could point it elsewhere.
    if job.out.is_symlink():
        raise StepError(f"{job.out} is a link to elsewhere: refused")
    make_folder(job.out)
    # An instance cannot be sent to another process; whoever gives one has chosen to train in this one.
    if job.spec.component is None:
        try:
            checkpoint = await asyncio.to_thread(train_here, job)
        except SgforgeError as error:
            if goes_back(error):
                return None
            raise
    else:
        answer = await _train_in_child(job, stop)
        if answer is None:
            return None
        checkpoint = Checkpoint(Path(answer["path"]), answer["sha256"], answer["metrics"])
    # Last of all: the folder counts as trained from the moment this file stands there.
    _finish(job, checkpoint)
    return checkpoint


def train_here(job: TrainJob) -> Checkpoint:
    """Train in this process; what the component returns is checked."""
    try:
        with standing(job.spec, job.resources) as instance, recorded(job.resources):
            checkpoint = getattr(instance, job.method)(job.snapshot, job.selection, job.out, job.resources)
    except (SgforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also sys.exit(): on the engine's thread it would end the loop under the others
        raise StepError(
            f"step {job.step!r}: {job.spec.name} failed to {job.method}: {told(error)} (--debug shows where)"
        ) from error
    if not isinstance(checkpoint, Checkpoint):
        raise StepError(f"step {job.step!r}: {job.spec.name} answered {type(checkpoint).__name__}, not a Checkpoint")
    if not checkpoint.path.resolve().is_relative_to(job.out.resolve()):
        raise StepError(f"step {job.step!r}: {job.spec.name} left its checkpoint outside its folder {job.out}")
    # Hashed again: a file written after the component took its hash would make every later run refuse the folder.
    if folder_sha256(checkpoint.path) != checkpoint.sha256:
        raise StepError(
            f"step {job.step!r}: the sha256 of {job.spec.name}'s checkpoint is not that of the files in "
            f"{checkpoint.path}: make it with Checkpoint.of when they are all written"
        )
    return checkpoint


def _finish(job: TrainJob, checkpoint: Checkpoint) -> None:
    path = checkpoint.path.resolve().relative_to(job.folder.resolve())
    metrics = {name: float(value) for name, value in checkpoint.metrics.items()}
    write_json(job.folder / _CHECKPOINT, {"path": path.as_posix(), "sha256": checkpoint.sha256, "metrics": metrics})


async def _train_in_child(job: TrainJob, stop: asyncio.Event) -> Mapping[str, Any] | None:
    answer = job.folder / "answer.json"
    # What a killed run left, or one of an older version: orders hold options as they were given, and paths.
    for leftover in (answer, job.folder / "job.json"):
        leftover.unlink(missing_ok=True)
    log, scratch = job.folder / "log.txt", job.folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        code, was_stopped = await _run_child(json.dumps(_as_json(job, answer)), log, stop)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    # Whole or not there, as it is replaced in one piece; without it the exit code is all there is to tell.
    found = json.loads(answer.read_text()) if answer.exists() else {}
    answer.unlink(missing_ok=True)
    # A training that had finished when the stop came is finished; any other end after a stop is not its fault.
    if code == 0 and "sha256" in found:
        return found
    if was_stopped:
        return None
    if "error" in found:
        raise _told(job, found)
    raise StepError(f"step {job.step!r}: {job.spec.name} {_ending(code)}; {_last_words(log)}")


async def _run_child(orders: str, log: Path, stop: asyncio.Event) -> tuple[int, bool]:
    """Run the child to its end; its exit code, and whether it was stopped.

    Its orders go through a pipe and never to a disk, so that nobody can leave them there.
    """
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sgforge.engine.barriers.train_child",
            # The child watches this pipe: when it closes, we are gone, and no second training may meet the first.
            stdin=asyncio.subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        assert process.stdin is not None
        process.stdin.write(orders.encode() + b"\n")
        with suppress(ConnectionError):  # it has ended already, and will be asked why
            await process.stdin.drain()
        was_stopped = await _wait(process, stop)
    finally:
        # Cancelled: no second training may begin in this folder while the first still writes to it.
        if process.returncode is None:
            _kill(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode or 0, was_stopped


def _told(job: TrainJob, found: Mapping[str, Any]) -> SgforgeError:
    """The error that a child wrote down; a budget that was reached is one here too."""
    message = str(found["error"])
    error = StepError(message if job.step in message else f"step {job.step!r}: {message}")
    error.exit_code = found["exit_code"]
    return error


async def _wait(process: asyncio.subprocess.Process, stop: asyncio.Event) -> bool:
    """Wait for the child to end; when `stop` is set it is asked to, then made to. Whether it was stopped."""
    ended = asyncio.ensure_future(process.wait())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return False
        # The whole group: loaders and helpers of the training end with it.
        _kill(process.pid, signal.SIGTERM)
        await asyncio.wait((ended,), timeout=_GRACE)
        # Also when it has ended: what it started may not have.
        _kill(process.pid, signal.SIGKILL)
        await ended
        return True
    finally:
        stopped.cancel()
        if not ended.done():
            ended.cancel()


def _kill(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    return f"ended with exit code {code}" if code else "ended without a checkpoint"


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
    return f"its log {log} ends: {' | '.join(lines)}" if lines else f"its log {log} is empty"


def _as_json(job: TrainJob, answer: Path) -> dict[str, Any]:
    resources = job.resources
    checkpoint, roots = resources.checkpoint, resources.roots
    return {
        "step": job.step,
        "kind": job.spec.kind,
        "component": job.spec.name,
        "settings": job.spec.settings,
        "method": job.method,
        "snapshot": str(job.snapshot.resolve()),
        "sources": job.selection.sources,
        "splits": job.selection.splits,
        "folder": str(job.folder.resolve()),
        "answer": str(answer.resolve()),
        "device": resources.device,
        "dtype": resources.dtype,
        "seed": resources.seed,
        "workers": resources.workers,
        "access": None if job.access is None else job.access.as_json(),
        "roots": None if roots is None else {name: str(roots.resolve(f"{name}:")) for name in roots.names()},
        "checkpoint": None
        if checkpoint is None
        else {
            "path": str(checkpoint.path.resolve()),
            "sha256": checkpoint.sha256,
            "metrics": dict(checkpoint.metrics),
        },
    }
