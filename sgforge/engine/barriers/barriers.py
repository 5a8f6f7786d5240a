"""Barriers of a run: train, refine and evaluate, each keyed by what it reads and kept in its step's folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgforge.columns import Ragged
from sgforge.durable import make_folder
from sgforge.engine.barriers.blank import BlankImages
from sgforge.engine.barriers.checkpoints import begin_training, keep_checkpoint, load_checkpoint
from sgforge.engine.barriers.evaluation import PREDICTIONS, EvaluateJob, Finder, evaluate, load_report
from sgforge.engine.context import Context
from sgforge.engine.executors.answering import Stopped
from sgforge.engine.executors.crew import ask, at_work, told_of_stop
from sgforge.engine.executors.training.lesson import Lesson
from sgforge.engine.executors.training.metrics import METRICS, MetricsReader
from sgforge.engine.executors.work import Training, Work
from sgforge.engine.planning.devices import devices_for
from sgforge.engine.planning.fingerprints import digest_of, fingerprint
from sgforge.engine.planning.known_work import Images
from sgforge.engine.planning.plan import Plan, PlannedStep
from sgforge.engine.reporting.progress import StepTotal
from sgforge.engine.reporting.report import StepCounts, StepReport
from sgforge.errors import StepError
from sgforge.file_refs import is_made
from sgforge.graph import Sample
from sgforge.stages import Checkpoint, Resources, Selection
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["evaluation_fingerprint", "run_evaluation", "run_training"]

Failures = Mapping[str, tuple[str, str]]


async def run_training(context: Context, step: PlannedStep, snapshot: Snapshot) -> StepReport:
    """Train or refine on a published snapshot, or take the checkpoint of an equal training."""
    started = time.monotonic()
    rows = snapshot.rows(step.on)
    if not len(rows):
        raise StepError(f"step {step.name!r}: no image is left to train on in {_named(step.on)}")
    read = Images.of(snapshot).read(rows.tolist())
    folder = context.folder_for(step, context.fingerprint(step, read), snapshot)
    checkpoint = load_checkpoint(folder)
    reused = checkpoint is not None
    if checkpoint is None:
        context.progress.note(f"{step.name}: {step.spec.name} learns from {counted(len(rows), 'image')}")
        lesson = Lesson(step=step.name, snapshot=snapshot.path, selection=step.on, folder=folder)
        checkpoint = await _train(context, _training_work(context, step), lesson)
    if checkpoint is not None:
        context.checkpoints[step.name] = checkpoint
    counts = StepCounts() if checkpoint is None else _counts(len(rows), reused)
    return StepReport(
        name=step.name,
        verb=step.verb.name,
        component=step.spec.name,
        counts=counts,
        seconds=time.monotonic() - started,
        status="unfinished" if checkpoint is None else "done",
        checkpoint=checkpoint,
    )


def _training_work(context: Context, step: PlannedStep) -> Work:
    weights, devices = context.weights_of(step), devices_for(*step.needs)
    resources = context.resources(step.spec, weights, sees_roots=True, devices=devices)
    student = step.student if step.verb.student_offers is not None else None
    asked = dict.fromkeys((*step.spec.asked_models, *(() if student is None else student.asked_models)))
    training = Training(
        run=step.run,
        student=student,
        lent=Resources() if student is None else context.resources(student, weights, sees_roots=True, devices=devices),
        access=None if step.spec.holds_instance else context.models.access(tuple(asked)),
    )
    return Work(spec=step.spec, method=step.verb.method, resources=resources, answers="checkpoint", training=training)


async def _train(context: Context, work: Work, lesson: Lesson) -> Checkpoint | None:
    """What the crew of a training answers, kept in its folder; None if the run was stopped before it ended."""
    # The folder outlives runs, and whoever could write to it could point it elsewhere.
    if lesson.out.is_symlink():
        raise StepError(f"{lesson.out} is a link to elsewhere: refused")
    make_folder(lesson.out)
    begin_training(lesson.folder)
    reader = MetricsReader(lesson.folder / METRICS)
    async with context.telling_figures(lesson.step, reader), at_work() as crews:
        crew = await context.door.open(work)
        crews.append(crew)
        async with told_of_stop(context.stop, crew.stop):
            try:
                checkpoint: Checkpoint = (await ask(crew, [lesson]))[0]
            except Stopped:
                return None
    # Last of all: the folder counts as trained from the moment this is noted there.
    keep_checkpoint(lesson.folder, checkpoint)
    return checkpoint


def _counts(images: int, reused: bool) -> StepCounts:
    return StepCounts(reused=images) if reused else StepCounts(computed=images)


def _named(on: Selection) -> str:
    parts = [f"source {' or '.join(on.sources)}"] if on.sources is not None else []
    parts += [f"split {' or '.join(on.splits)}"] if on.splits is not None else []
    return " of ".join(reversed(parts)) or "the dataset"


async def run_evaluation(
    context: Context, step: PlannedStep, source: Snapshot, snapshot: Snapshot, failures: Failures
) -> StepReport:
    """Evaluate on the held-out images of a published snapshot, or take the report of an equal evaluation.

    `source`: the snapshot of what the sources gave, which the truth is read from.
    """
    started = time.monotonic()
    images = Images.of(snapshot)
    selection = step.selection(images.splits)
    rows = snapshot.rows(selection)
    truths = snapshot if step.spec.truth == "graph" else source
    left_out = _left_out(images, selection, failures)
    _check_truth(step, truths, rows, left_out)
    notes = tuple(_leaks(context.plan, step, snapshot, rows))
    keys = [key.tobytes() for key in truths.keys[rows]]
    # Where the student looks at what a step made, that step's state counts, not the source's alone.
    looked_at = rows.tolist() if step.spec.needs.shows else _made(snapshot, rows)
    keys += [snapshot.keys[row].tobytes() for row in looked_at]
    read = evaluation_fingerprint(step, keys, context.run_id, left_out, notes)
    folder = context.folder_for(step, context.fingerprint(step, read), snapshot)
    report = load_report(folder)
    reused = report is not None
    if report is None:
        samples = _samples(context, step, truths, snapshot, rows)
        job = _evaluate_job(context, step, samples, left_out, folder, notes)
        try:
            async with context.telling([StepTotal(step.name, len(rows))], [job.tally]):
                report = await evaluate(job, context.stop)
        except Stopped:
            return StepReport(step.name, step.verb.name, step.spec.name, StepCounts(), status="unfinished")
    return StepReport(
        name=step.name,
        verb=step.verb.name,
        component=step.spec.name,
        counts=_counts(len(rows), reused),
        seconds=time.monotonic() - started,
        report=report,
        predictions=folder / PREDICTIONS,
    )


def _evaluate_job(
    context: Context,
    step: PlannedStep,
    held_out: Iterator[Sample],
    left_out: Mapping[str, int],
    folder: Path,
    notes: tuple[str, ...],
) -> EvaluateJob:
    assert step.student is not None
    return EvaluateJob(
        step=step.name,
        evaluator=Work(
            spec=step.spec,
            method=step.verb.method,
            answers="report",
            # The evaluator alone sees the truth, so it alone may look into the folders that hold it.
            resources=context.resources(step.spec, None, sees_roots=True),
        ),
        student=Work(
            spec=step.student,
            method="rank",
            resources=context.resources(step.student, context.weights_of(step)),
            answers="ranking",
            images=context.roots,
            batch_size=step.batch_size,
        ),
        segmenters=[Finder(finder.name, finder.verb, context.work(finder)) for finder in step.segmenters],
        door=context.door,
        held_out=held_out,
        skipped=left_out,
        folder=folder,
        tally=context.tally(step.name),
        notes=notes,
    )


def _check_truth(step: PlannedStep, truths: Snapshot, rows: np.ndarray, left_out: Mapping[str, int]) -> None:
    if not len(rows):
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise StepError(
            f"step {step.name!r}: no held-out image is left to evaluate on ({why}): mend what they failed at, or "
            'evaluate on others with on = {split = "..."}'
        )
    if not np.asarray(truths.column("image/relation_count"))[rows].any():
        raise StepError(
            f"step {step.name!r}: the source gave no relation for any of the {len(rows)} held-out images, so there is "
            'no truth to measure against; truth = "graph" takes the relations that the steps made'
        )


def evaluation_fingerprint(
    step: PlannedStep,
    keys: Sequence[bytes],
    run_id: str,
    left_out: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Digest of what an evaluation reads: truth, student and, as it may see what they find, the segmenters.

    With a student or segmenter that cannot be recognised it is one that no other run has. `left_out`: held-out images
    that the report counts as skipped, by reason; `notes`: what the engine remarks in the report.
    """
    assert step.student is not None
    specs = [step.student, *(finder.spec for finder in step.segmenters)]
    parts = {
        "keys": digest_of(keys),
        "components": [spec.identity for spec in specs],
        "run": None if all(spec.is_stable for spec in specs) else run_id,
        "left_out": left_out or None,
        "shows": step.spec.needs.shows or None,
        "notes": notes or None,
    }
    return fingerprint(parts)


def _leaks(plan: Plan, step: PlannedStep, snapshot: Snapshot, rows: np.ndarray) -> Iterator[str]:
    """A remark where held-out images, also under another id, are among those that the weights were trained on."""
    trained = np.zeros(len(snapshot), bool)
    name = step.weights
    while name is not None:
        training = plan.step(name)
        trained[snapshot.rows(training.on)] = True
        name = training.weights
    files = np.asarray(snapshot.column("image/sha256")).view("V32").reshape(-1)
    known = files != np.zeros(1, "V32")
    seen = trained[rows] | (known[rows] & np.isin(files[rows], files[trained & known]))
    if seen.any():
        yield f"{seen.sum()} of the {len(rows)} held-out images were trained on too: this is no measure of new images"


def _samples(
    context: Context, step: PlannedStep, truths: Snapshot, snapshot: Snapshot, rows: np.ndarray
) -> Iterator[Sample]:
    """The truth of each image, with the picture and, if the student is shown any, the values that it has by now."""
    made = set(_made(snapshot, rows))
    blank = BlankImages(context.writer.files, context.roots) if step.spec.shown_image == "blank" else None
    for row in rows.tolist():
        truth = truths.sample(row, context.roots)
        if row in made:
            truth = truth.with_image_of(snapshot.sample(row, context.roots))
        if blank is not None:
            truth = blank.in_place_of(truth)
        yield snapshot.with_values(truth, row) if step.spec.needs.shows else truth


def _made(snapshot: Snapshot, rows: np.ndarray) -> list[int]:
    """The rows whose picture a step made."""
    uris = snapshot.column("image/uri")
    assert isinstance(uris, Ragged)
    return [row for row in rows.tolist() if is_made(uris.bytes_at(row))]


def _left_out(images: Images, selection: Selection, failures: Failures) -> dict[str, int]:
    """Held-out images that failed before, by reason; images that were dropped."""
    counts: Counter[str] = Counter()
    chosen = zip(images.ids, images.sources, images.splits, images.alive, strict=True)
    for image_id, source, split, alive in chosen:
        here = selection.sources is None or source in selection.sources
        if alive or not here or (selection.splits is not None and split not in selection.splits):
            continue
        failure = failures.get(image_id)
        counts["dropped" if failure is None else f"failed at {failure[0]}: {failure[1]}"] += 1
    return dict(sorted(counts.items()))
