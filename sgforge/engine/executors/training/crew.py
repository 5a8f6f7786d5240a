"""The crew of a training: it is asked for one lesson, and answers with the checkpoint.

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
from sgforge.engine.executors.answering import Outcome, goes_back, recorded
from sgforge.engine.executors.crew import Lane
from sgforge.engine.executors.lifecycle import Entered, Seat, close_parts, open_parts, standing
from sgforge.engine.executors.training.lesson import Lesson, checkpoint_of, pack_lesson
from sgforge.engine.executors.training.metrics import METRICS, MetricsWriter
from sgforge.engine.executors.training.processes import Ended, run_together
from sgforge.engine.executors.work import Work
from sgforge.engine.executors.work_messages import pack_work
from sgforge.errors import SgforgeError, StepError
from sgforge.stages import Checkpoint, Policy, Resources
from sgforge.text.blame import told

__all__ = ["TrainingCrew", "train_here"]

SCRATCH: Final = "scratch"
"""The folder for temporary files of a training in a process of its own."""
_LOG_LINES: Final = 3


class TrainingCrew:
    """Trains, or goes on with a training that was stopped; the processes begin with their lesson.

    Whatever goes wrong is a `StepError`; the dataset is not touched.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._stop = asyncio.Event()
        self.lanes = (Lane(self._answer, 1, 1),)

    async def _answer(self, lessons: Sequence[Lesson]) -> list[Outcome]:
        (lesson,) = lessons
        checkpoint = None if self._stop.is_set() else await self._train(lesson)
        return [] if checkpoint is None else [Outcome(checkpoint)]

    async def _train(self, lesson: Lesson) -> Checkpoint | None:
        # An instance cannot be sent to another process; whoever gives one has chosen to train in this one.
        if not self._work.spec.holds_instance:
            return await _train_in_children(self._work, lesson, self._stop)
        try:
            return await asyncio.to_thread(_train_reporting, self._work, lesson)
        except SgforgeError as error:
            if goes_back(error):
                return None
            raise

    def stop(self) -> None:
        self._stop.set()

    async def close(self) -> None: ...

    # The processes end with the call that is cancelled.
    def abandon(self) -> None: ...


def _train_reporting(work: Work, lesson: Lesson) -> Checkpoint:
    report = MetricsWriter(lesson.folder / METRICS)
    try:
        resources = attrs.evolve(work.resources, reporter=report)
        checkpoint = train_here(attrs.evolve(work, resources=resources), lesson)
    finally:
        report.close()
    assert checkpoint is not None  # as there is but one process
    return checkpoint


def train_here(work: Work, lesson: Lesson) -> Checkpoint | None:
    """Train in this process; what the first rank returns is checked, and what others return is not looked at."""
    worker = work.resources.worker
    name = work.spec.name if worker.world == 1 else f"rank {worker.rank} of {work.spec.name}"
    try:
        with (
            _with_student(work) as given,
            standing(work.spec, given) as (instance, resources),
            recorded(given, work.training.lent),
        ):
            checkpoint = getattr(instance, work.method)(lesson.snapshot, lesson.selection, lesson.out, resources)
    except (SgforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also sys.exit(): on the engine's thread it would end the loop under the others
        raise StepError(
            f"step {lesson.step!r}: {name} failed to {work.method}: {told(error)} (--debug shows where)"
        ) from error
    return None if worker.rank else _checked(lesson, name, checkpoint)


@contextmanager
def _with_student(work: Work) -> Iterator[Resources]:
    """The resources of the training, with a student that is built and not set up: its policy loads what it needs."""
    if work.training.student is None:
        yield work.resources
        return
    seats: list[Seat] = []
    try:
        lent = open_parts(work.training.student, work.training.lent, seats)
        student = Entered(work.training.student.build(), lent)
        try:
            yield attrs.evolve(work.resources, student=_Lent(student.instance, lent))
        finally:
            student.close()
    finally:
        close_parts(seats)


@attrs.frozen(eq=False)
class _Lent:
    """A student as a refiner sees it: its policy works with its own model and parts, and not with the refiner's."""

    student: Any
    lent: Resources

    def policy(self, resources: Resources) -> Policy:
        own = attrs.evolve(resources, model=self.lent.model, parts=self.lent.parts)
        found: Policy = self.student.policy(own)
        return found


def _checked(lesson: Lesson, name: str, checkpoint: Any) -> Checkpoint:
    """The checkpoint that a component returned, if it is one, of files that are in its folder and stay as they are."""
    if not isinstance(checkpoint, Checkpoint):
        raise StepError(f"step {lesson.step!r}: {name} answered {type(checkpoint).__name__}, not a Checkpoint")
    if not checkpoint.path.resolve().is_relative_to(lesson.out.resolve()):
        raise StepError(f"step {lesson.step!r}: {name} left its checkpoint outside its folder {lesson.out}")
    # Hashed again: a file written after the component took its hash would make every later run refuse the folder.
    if folder_sha256(checkpoint.path) != checkpoint.sha256:
        raise StepError(
            f"step {lesson.step!r}: the sha256 of {name}'s checkpoint is not that of the files in "
            f"{checkpoint.path}: make it with Checkpoint.of when they are all written"
        )
    return checkpoint


async def _train_in_children(work: Work, lesson: Lesson, stop: asyncio.Event) -> Checkpoint | None:
    # What a killed run left, or one of an older version: orders hold options as they were given, and paths.
    for leftover in (lesson.folder / "job.json", *lesson.folder.glob("answer*.json")):
        leftover.unlink(missing_ok=True)
    run = work.training.run
    ranks = range(run.processes)
    answers, logs = (
        [lesson.folder / f"{stem}{f'-{rank}' if rank else ''}{suffix}" for rank in ranks]
        for stem, suffix in (("answer", ".json"), ("log", ".txt"))
    )
    orders = [_orders(work, lesson, rank, answer) for rank, answer in enumerate(answers)]
    scratch = lesson.folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        ended = await run_together(orders, logs, run, stop, lambda rank: "done" in _read_answer(answers[rank]))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = [_read_answer(answer) for answer in answers]
    for answer in answers:
        answer.unlink(missing_ok=True)
    # A training that had finished when the stop came is finished; any other end after a stop is not its fault.
    if not any(ended.codes) and "checkpoint" in found[0]:
        return checkpoint_of(found[0]["checkpoint"])
    if ended.why == "stopped":
        return None
    if ended.why == "timeout":
        raise StepError(
            f"step {lesson.step!r}: {work.spec.name} was stopped after its timeout_s of {run.timeout_s:g} seconds; "
            "the next run goes on from what it has saved"
        )
    raise _failure(work, lesson, ended, found, logs)


def _read_answer(answer: Path) -> dict[str, Any]:
    """What a rank has left, whole as it is replaced in one piece; without it the exit code is all there is to tell."""
    found: dict[str, Any] = json.loads(answer.read_text()) if answer.exists() else {}
    return found


def _failure(
    work: Work, lesson: Lesson, ended: Ended, found: Sequence[Mapping[str, Any]], logs: Sequence[Path]
) -> SgforgeError:
    """The error of the rank that failed first: others only miss it, and say so at more length."""
    told = [rank for rank, answer in enumerate(found) if "error" in answer]
    # One that was killed has said nothing; those that were ended for its sake are not among these.
    first = min({*ended.failed, *told} or {0}, key=lambda rank: found[rank].get("at", 0.0))
    answer, several = found[first], work.training.run.processes > 1
    if "error" in answer:
        message = str(answer["error"])
        message = message if lesson.step in message else f"step {lesson.step!r}: {message}"
        # A budget that was reached there is one here too.
        error = StepError(f"{message}; {_last_words(logs[first])}" if several else message)
        error.exit_code = answer["exit_code"]
        return error
    name = f"rank {first} of {work.spec.name}" if several else work.spec.name
    return StepError(f"step {lesson.step!r}: {name} {_ending(ended.codes[first])}; {_last_words(logs[first])}")


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    return f"ended with exit code {code}" if code else "ended without a checkpoint"


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
    return f"its log {log} ends: {' | '.join(lines)}" if lines else f"its log {log} is empty"


def _orders(work: Work, lesson: Lesson, rank: int, answer: Path) -> dict[str, Any]:
    share = work.resources.of_process(rank, work.training.run.processes)
    scratch = (lesson.folder / SCRATCH / str(rank)).resolve()
    own = attrs.evolve(work, resources=attrs.evolve(share, scratch=scratch))
    # As text: the orders of a process are one line.
    return {"work": pack_work(own).hex(), "lesson": pack_lesson(lesson).hex(), "answer": str(answer.resolve())}
