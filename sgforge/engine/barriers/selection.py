"""Selection as a barrier: a selector looks at all images of a published snapshot and answers with an edit for each.

    <dataset>/steps/<fingerprint>/choices.jsonl   its answers, a line for each image that it saw, in their order

An image that it drops gets the next key; all others keep theirs, and what was chosen of them belongs to the version.
So the item steps behind it go on from the answers that they had, whatever was chosen.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

import attrs

from sgforge.columns.declared import CORE_COLUMNS, fitted_edit
from sgforge.edits import Edit, Value
from sgforge.engine.barriers.checkpoints import refuse_changed
from sgforge.engine.barriers.whole_answer import asked_as_a_whole
from sgforge.engine.context import Context
from sgforge.engine.executors.answering import Stopped
from sgforge.engine.executors.check_answer import check_answer
from sgforge.engine.executors.crew import ask, at_work
from sgforge.engine.executors.door import Door
from sgforge.engine.executors.work import Work
from sgforge.engine.planning.fingerprints import image_chain_key
from sgforge.engine.planning.known_work import Images
from sgforge.engine.planning.plan import PlannedStep
from sgforge.engine.reporting.progress import StepTotal
from sgforge.engine.reporting.report import Failed, StepCounts, StepReport
from sgforge.engine.reporting.step_counts import Tally
from sgforge.errors import GraphError, StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.seals import sealed_file
from sgforge.stages import Answer, Failure, check_role
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.dataset import JournalRow, Selected, Snapshot

__all__ = ["SelectJob", "Selection", "load_choices", "run_selection", "select"]

Failures = Mapping[str, tuple[str, str]]
_CHOICES: Final = "choices.jsonl"
_READ: Final = 256
"""Images that are read at once where they are gone through in order."""


@attrs.frozen(kw_only=True)
class Selection:
    """What a selection came to: its report, the snapshot after it, (step, reason) of all failed images by id so far.

    `failed`: those of this step with their messages. A stopped one leaves the snapshot as it was.
    """

    report: StepReport
    snapshot: Snapshot
    failures: Failures
    failed: Sequence[Failed] = ()


@attrs.frozen(kw_only=True)
class SelectJob:
    """One selection among `rows` of a snapshot; its answers are kept in `folder`."""

    step: str
    work: Work
    door: Door
    snapshot: Snapshot
    rows: Sequence[int]
    roots: Roots
    folder: Path


async def run_selection(context: Context, step: PlannedStep, snapshot: Snapshot, failures: Failures) -> Selection:
    """Let a selector choose among the images of a published snapshot, and publish what it answered.

    `failures`: (step, reason) by image id, of all steps so far.
    """
    started = time.monotonic()
    images, tally = Images.of(snapshot), context.tally(step.name)
    rows = [row for row, is_there in enumerate(images.rows(step)) if is_there]
    fingerprint = context.fingerprint(step, images.read(rows))
    folder = context.folder_for(step, fingerprint, snapshot)
    answers: Sequence[Answer] | None = load_choices(folder)
    reused = answers is not None
    total = StepTotal(step.name, 0, len(rows)) if reused else StepTotal(step.name, len(rows))
    try:
        # Counted while it is told: a display knows no step that has not begun, or has ended.
        async with context.telling([total], [tally]):
            if answers is None:
                answers = await select(_job(context, step, snapshot, rows, folder), context.stop)
            for row, answer in zip(rows, answers, strict=True):
                _count(tally, row, images.ids[row], answer, reused=reused)
    except Stopped:
        report = StepReport(step.name, step.verb.name, step.spec.name, StepCounts(), status="unfinished")
        return Selection(report=report, snapshot=snapshot, failures=failures)
    failures = {**failures, **{images.ids[row]: (step.name, reason) for row, reason in tally.failures.items()}}
    report = _report(step, tally, len(images))
    record = context.record(step, fingerprint, report)
    keys, selected = _selected(step, images, rows, answers, bytes.fromhex(fingerprint), context.run_id)
    publish = partial(context.writer.publish, record, snapshot, keys, failures, selected=selected)
    made = await context.in_thread(publish)
    context.states.add([made.id])
    report = attrs.evolve(report, snapshot=made.id, seconds=time.monotonic() - started)
    return Selection(report=report, snapshot=made, failures=failures, failed=tally.shown)


def _job(context: Context, step: PlannedStep, snapshot: Snapshot, rows: Sequence[int], folder: Path) -> SelectJob:
    return SelectJob(
        step=step.name,
        work=Work(
            spec=step.spec,
            method=step.verb.method,
            resources=context.resources(step.spec, None),
            answers="choices",
        ),
        door=context.door,
        snapshot=snapshot,
        rows=rows,
        roots=context.roots,
        folder=folder,
    )


def _count(tally: Tally, row: int, image_id: str, answer: Answer, *, reused: bool) -> None:
    tally.batch(1, int(isinstance(answer, Failure)), 0.0)
    if isinstance(answer, Failure):
        tally.fail(row, image_id, answer)
        return
    if reused:
        tally.reuse(1)
    else:
        tally.answer(answer.faults)
    if answer.dropped is not None:
        tally.drop(row)


def _report(step: PlannedStep, tally: Tally, images: int) -> StepReport:
    counts = tally.counts(images)
    return StepReport(
        name=step.name,
        verb=step.verb.name,
        component=step.spec.name,
        counts=counts,
        reasons=dict(sorted(tally.reasons.items())),
        notes=step.spec.notes(counts.faults),
    )


def _selected(
    step: PlannedStep, images: Images, rows: Sequence[int], answers: Sequence[Answer], prefix: bytes, run_id: str
) -> tuple[list[bytes], Selected]:
    """The key of each image after a selection, and what is published of it."""
    from sgforge.dataset import JournalRow, Selected
    from sgforge.packed import pack_edit

    keys = list(images.keys)
    dropped: dict[bytes, JournalRow] = {}
    chosen: dict[int, Value] = {}
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Failure):
            continue
        if answer.values:
            chosen[row] = answer.values[-1]
        if answer.dropped is not None:
            # The reason is part of it: where an image failed, the same selector may answer another way next time.
            keys[row] = image_chain_key(prefix, images.keys[row], answer.dropped.encode())
            dropped[keys[row]] = JournalRow(
                key=keys[row],
                image_id=images.ids[row],
                step=step.name,
                edit=pack_edit(Edit.drop(answer.dropped)),
                run=run_id,
                parent_key=images.keys[row],
            )
    return keys, Selected(dropped, chosen)


def load_choices(folder: Path) -> list[Edit] | None:
    """The answers of a step's folder, None if there are none yet."""
    refuse_changed(folder / _CHOICES)
    try:
        lines = (folder / _CHOICES).read_bytes().splitlines()
    except FileNotFoundError:
        return None
    return [_edit(json.loads(line)) for line in lines]


async def select(job: SelectJob, stop: asyncio.Event) -> list[Answer]:
    """The selector's answers, checked; they are kept in the step's folder if no image failed, which is tried again.

    Raises:
        StepError: the selector failed as a whole, or gave another number of answers than there are images.
        Stopped: `stop` was set before it was done.
        StopRunError: it met an error that ends the run.
    """
    async with at_work() as crews:
        crews.append(await job.door.open(job.work))
        answers: list[Answer]
        (answers,) = await ask(crews[0], [partial(_choose, job, stop)])
    edits = [answer for answer in answers if isinstance(answer, Edit)]
    if len(edits) == len(answers):
        with sealed_file(job.folder / _CHOICES) as stream:
            ids = job.snapshot.image_ids
            stream.writelines(_line(ids[row], edit) for row, edit in zip(job.rows, edits, strict=True))
    return answers


def _choose(job: SelectJob, stop: asyncio.Event, selector: Any) -> list[Answer]:
    shown = _Shown(job, stop)
    answers: list[Answer] = []
    with asked_as_a_whole(job.step, job.work, lambda: shown.ended):
        given = getattr(selector, job.work.method)(shown)
        if not isinstance(given, Iterable):
            raise StepError(f"it answered {type(given).__name__}, not an answer for each image")
        for answer in given:
            answers.append(_checked(answer, job.work))
            if len(answers) > len(job.rows):
                break
        if len(answers) != len(job.rows):
            more = "more answers" if len(answers) > len(job.rows) else counted(len(answers), "answer")
            raise StepError(
                f"step {job.step!r}: {job.work.spec.name} gave {more} for {counted(len(job.rows), 'image')}"
            )
    return answers


def _checked(answer: Any, work: Work) -> Answer:
    """The answer, or the failure that it is none: of a selector the graph does not matter."""
    checked = check_answer(answer)
    if isinstance(checked, Failure):
        return checked
    wrong = check_role(work.method, checked, SceneGraph())
    if wrong is not None:
        return Failure("role", wrong)
    try:
        return fitted_edit(checked, CORE_COLUMNS)
    except GraphError as error:
        return Failure("contract", f"its edit cannot be used: {error}")


class _Shown(Sequence[Sample]):
    """The images that a selector sees, read as they are asked for. `ended`: set once a stop kept any back."""

    def __init__(self, job: SelectJob, stop: asyncio.Event) -> None:
        self._job = job
        self._stop = stop
        self.ended: Stopped | None = None

    def __len__(self) -> int:
        return len(self._job.rows)

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _READ):
            yield from self._read(self._job.rows[start : start + _READ])

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | list[Sample]:
        if isinstance(place, slice):
            return list(self._read(self._job.rows[place]))
        return next(self._read([self._job.rows[place]]))

    def _read(self, rows: Sequence[int]) -> Iterator[Sample]:
        snapshot, roots = self._job.snapshot, self._job.roots
        for sample, _ in snapshot.samples_of(rows, roots) if rows else ():
            if self._stop.is_set():
                self.ended = Stopped()
                raise self.ended
            yield sample


def _line(image_id: str, edit: Edit) -> bytes:
    told: dict[str, Any] = {"image_id": image_id}
    if edit.dropped is not None:
        told["drop"] = edit.dropped
    for value in edit.values:
        told[value.column] = value.value
    if edit.faults:
        told["faults"] = dict(edit.faults)
    return json.dumps(told, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _edit(told: Mapping[str, Any]) -> Edit:
    values = Edit() if "chosen" not in told else Edit.value("image", None, "chosen", told["chosen"])
    edit = attrs.evolve(values, dropped=told.get("drop"), faults=told.get("faults", {}))
    return fitted_edit(edit, CORE_COLUMNS)
