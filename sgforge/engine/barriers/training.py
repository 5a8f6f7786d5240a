"""Training as a barrier: train and refine read a published snapshot and leave a checkpoint in the step's folder.

    <dataset>/steps/<fingerprint>/  out/             what the component writes; it resumes from what it finds there
                                    checkpoint.json  written last: there is a checkpoint only if this file is there
                                    metrics.jsonl    the figures that it reported
                                    log.txt          what a training in a child process printed, log-1.txt its rank 1

A component that was named trains in child processes, so that its crash costs the step and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.digests import folder_sha256
from sgforge.durable import make_folder, write_text
from sgforge.engine.barriers.training_processes import Ended, run_together
from sgforge.engine.executors.answering import goes_back, recorded
from sgforge.engine.executors.lifecycle import Entered, standing
from sgforge.engine.executors.work import Work
from sgforge.engine.executors.work_messages import pack_work
from sgforge.engine.models.child_models import ModelAccess
from sgforge.engine.planning.components import ComponentSpec
from sgforge.engine.reporting.metrics import METRICS, MetricsWriter
from sgforge.errors import SgforgeError, StepError
from sgforge.stages import Checkpoint, Resources, Selection
from sgforge.steps import RunSettings
from sgforge.text.blame import told

__all__ = ["SCRATCH", "TrainJob", "load_checkpoint", "train", "train_here", "write_json"]

_CHECKPOINT: Final = "checkpoint.json"
SCRATCH: Final = "scratch"
"""The folder for temporary files of a training in a process of its own."""
_LOG_LINES: Final = 3


@attrs.frozen(kw_only=True)
class TrainJob:
    """One training: what runs, what it reads, where it writes, and what it needs to ask its model in its process.

    `work`: of the whole training; each of its processes gets its share. `run`: how many these are, and how long.
    `student`: what a refiner is given, to refine it.
    """

    step: str
    work: Work
    snapshot: Path
    selection: Selection
    folder: Path
    access: ModelAccess | None = None
    run: RunSettings = attrs.field(factory=RunSettings)
    student: ComponentSpec | None = None

    @property
    def component(self) -> str:
        """Whose method trains, for messages."""
        return self.work.spec.name

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
    if job.work.spec.holds_instance:
        try:
            checkpoint = await asyncio.to_thread(_train_reporting, job)
        except SgforgeError as error:
            if goes_back(error):
                return None
            raise
    else:
        answer = await _train_in_children(job, stop)
        if answer is None:
            return None
        checkpoint = Checkpoint(Path(answer["path"]), answer["sha256"], answer["metrics"])
    # Last of all: the folder counts as trained from the moment this file stands there.
    _finish(job, checkpoint)
    return checkpoint


def _train_reporting(job: TrainJob) -> Checkpoint:
    report = MetricsWriter(job.folder / METRICS)
    try:
        resources = attrs.evolve(job.work.resources, reporter=report)
        checkpoint = train_here(attrs.evolve(job, work=attrs.evolve(job.work, resources=resources)))
    finally:
        report.close()
    assert checkpoint is not None  # as there is but one process
    return checkpoint


def train_here(job: TrainJob) -> Checkpoint | None:
    """Train in this process; what the first rank returns is checked, and what others return is not looked at."""
    work, worker = job.work, job.work.resources.worker
    name = job.component if worker.world == 1 else f"rank {worker.rank} of {job.component}"
    try:
        with (
            _with_student(job) as given,
            standing(work.spec, given) as (instance, resources),
            recorded(given),
        ):
            checkpoint = getattr(instance, work.method)(job.snapshot, job.selection, job.out, resources)
    except (SgforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also sys.exit(): on the engine's thread it would end the loop under the others
        raise StepError(
            f"step {job.step!r}: {name} failed to {work.method}: {told(error)} (--debug shows where)"
        ) from error
    return None if worker.rank else _checked(job, name, checkpoint)


@contextmanager
def _with_student(job: TrainJob) -> Iterator[Resources]:
    """The resources of the training, with a student that is built and not set up: its policy loads what it needs."""
    if job.student is None:
        yield job.work.resources
        return
    student = Entered(job.student.build(), job.work.resources)
    try:
        yield attrs.evolve(job.work.resources, student=student.instance)
    finally:
        student.close()


def _checked(job: TrainJob, name: str, checkpoint: Any) -> Checkpoint:
    """The checkpoint that a component returned, if it is one, of files that are in its folder and stay as they are."""
    if not isinstance(checkpoint, Checkpoint):
        raise StepError(f"step {job.step!r}: {name} answered {type(checkpoint).__name__}, not a Checkpoint")
    if not checkpoint.path.resolve().is_relative_to(job.out.resolve()):
        raise StepError(f"step {job.step!r}: {name} left its checkpoint outside its folder {job.out}")
    # Hashed again: a file written after the component took its hash would make every later run refuse the folder.
    if folder_sha256(checkpoint.path) != checkpoint.sha256:
        raise StepError(
            f"step {job.step!r}: the sha256 of {name}'s checkpoint is not that of the files in "
            f"{checkpoint.path}: make it with Checkpoint.of when they are all written"
        )
    return checkpoint


def _finish(job: TrainJob, checkpoint: Checkpoint) -> None:
    path = checkpoint.path.resolve().relative_to(job.folder.resolve())
    metrics = {name: float(value) for name, value in checkpoint.metrics.items()}
    write_json(job.folder / _CHECKPOINT, {"path": path.as_posix(), "sha256": checkpoint.sha256, "metrics": metrics})


async def _train_in_children(job: TrainJob, stop: asyncio.Event) -> Mapping[str, Any] | None:
    # What a killed run left, or one of an older version: orders hold options as they were given, and paths.
    for leftover in (job.folder / "job.json", *job.folder.glob("answer*.json")):
        leftover.unlink(missing_ok=True)
    ranks = range(job.run.processes)
    answers, logs = (
        [job.folder / f"{stem}{f'-{rank}' if rank else ''}{suffix}" for rank in ranks]
        for stem, suffix in (("answer", ".json"), ("log", ".txt"))
    )
    orders = [_orders(job, rank, answer) for rank, answer in enumerate(answers)]
    scratch = job.folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        ended = await run_together(orders, logs, job.run, stop, lambda rank: "done" in _read_answer(answers[rank]))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = [_read_answer(answer) for answer in answers]
    for answer in answers:
        answer.unlink(missing_ok=True)
    # A training that had finished when the stop came is finished; any other end after a stop is not its fault.
    if not any(ended.codes) and "sha256" in found[0]:
        return found[0]
    if ended.why == "stopped":
        return None
    if ended.why == "timeout":
        raise StepError(
            f"step {job.step!r}: {job.component} was stopped after its timeout_s of {job.run.timeout_s:g} seconds; "
            "the next run goes on from what it has saved"
        )
    raise _failure(job, ended, found, logs)


def _read_answer(answer: Path) -> dict[str, Any]:
    """What a rank has left, whole as it is replaced in one piece; without it the exit code is all there is to tell."""
    found: dict[str, Any] = json.loads(answer.read_text()) if answer.exists() else {}
    return found


def _failure(job: TrainJob, ended: Ended, found: Sequence[Mapping[str, Any]], logs: Sequence[Path]) -> SgforgeError:
    """The error of the rank that failed first: others only miss it, and say so at more length."""
    told = [rank for rank, answer in enumerate(found) if "error" in answer]
    # One that was killed has said nothing; those that were ended for its sake are not among these.
    first = min({*ended.failed, *told} or {0}, key=lambda rank: found[rank].get("at", 0.0))
    answer, several = found[first], job.run.processes > 1
    if "error" in answer:
        message = str(answer["error"])
        message = message if job.step in message else f"step {job.step!r}: {message}"
        # A budget that was reached there is one here too.
        error = StepError(f"{message}; {_last_words(logs[first])}" if several else message)
        error.exit_code = answer["exit_code"]
        return error
    name = f"rank {first} of {job.component}" if several else job.component
    return StepError(f"step {job.step!r}: {name} {_ending(ended.codes[first])}; {_last_words(logs[first])}")


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    return f"ended with exit code {code}" if code else "ended without a checkpoint"


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
    return f"its log {log} ends: {' | '.join(lines)}" if lines else f"its log {log} is empty"


def _orders(job: TrainJob, rank: int, answer: Path) -> dict[str, Any]:
    share = job.work.resources.of_process(rank, job.run.processes)
    scratch = (job.folder / SCRATCH / str(rank)).resolve()
    work = attrs.evolve(job.work, resources=attrs.evolve(share, scratch=scratch))
    return {
        "step": job.step,
        "rank": rank,
        # As text: the orders of a process are one line.
        "work": pack_work(work).hex(),
        "student": None if job.student is None else {"component": job.student.name, "settings": job.student.settings},
        "snapshot": str(job.snapshot.resolve()),
        "sources": job.selection.sources,
        "splits": job.selection.splits,
        "folder": str(job.folder.resolve()),
        "answer": str(answer.resolve()),
        "access": None if job.access is None else job.access.as_json(),
    }
