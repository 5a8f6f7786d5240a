"""Evaluation as a barrier: a student ranks held-out images of which it sees only what the mode allows.

New samples are built from an allow-list: predcls shows boxes, masks and labels; sgcls boxes and masks; sgdet the image
alone, with regions that the pipeline's segmenters find on it. Truth never reaches the student, and no graph changes.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, get_args

import attrs
import numpy as np

from sgforge.columns.declared import Column
from sgforge.durable import json_text, make_folder
from sgforge.edits import with_edit
from sgforge.engine.barriers.checkpoints import refuse_changed
from sgforge.engine.barriers.whole_answer import asked_as_a_whole
from sgforge.engine.executors.answering import Stopped, StopRunError
from sgforge.engine.executors.check_answer import on_shown, take_edit
from sgforge.engine.executors.crew import Crew, ask, at_work, intake, told_of_stop
from sgforge.engine.executors.door import Door
from sgforge.engine.executors.work import Work
from sgforge.engine.reporting.step_counts import Tally
from sgforge.errors import StepError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.seals import sealed_file
from sgforge.stages import Failure, Judged, Mode, Ranking, Report, Verb
from sgforge.text.blame import told, words_of
from sgforge.text.wording import counted
from sgforge.top_k import top_cells

__all__ = ["PREDICTIONS", "EvaluateJob", "Finder", "bare_sample", "compact_truth", "evaluate", "load_report"]

_REPORT: Final = "report.json"
PREDICTIONS: Final = "predictions.jsonl"
"""The file in a step's folder that holds what the student said of each image."""
SAVED_RELATIONS: Final = 1000
"""Relations of one image in the saved predictions: the best predicate of every pair, and the best so many of all."""


@attrs.frozen
class Finder:
    """An earlier step that finds regions on the images of an evaluation: its name, its verb and its work."""

    step: str
    verb: Verb
    work: Work


@attrs.frozen
class EvaluateJob:
    """One evaluation. `held_out` gives the samples whose graphs are the truth, in the order of their ids.

    `skipped`: images left out before, by reason. `notes`: remarks for the report. `tally` counts what is answered.
    """

    step: str
    evaluator: Work
    student: Work
    segmenters: Sequence[Finder]
    door: Door
    held_out: Iterable[Sample]
    skipped: Mapping[str, int]
    folder: Path
    tally: Tally
    notes: tuple[str, ...] = ()


def load_report(folder: Path) -> Report | None:
    """The finished report of a step's folder, None if there is none yet."""
    for name in (_REPORT, PREDICTIONS):
        refuse_changed(folder / name)
    try:
        found = json.loads((folder / _REPORT).read_text())
    except FileNotFoundError:
        return None
    found["notes"] = tuple(found["notes"])
    return Report(**found)


async def evaluate(job: EvaluateJob, stop: asyncio.Event) -> Report:
    """Evaluate; report and predictions are saved in the step's folder, the report last.

    The evaluator pulls image after image on a thread of its own; student and segmenters answer as in item steps.

    Raises:
        StepError: a component failed as a whole, or answered something else than its contract says.
        Stopped: `stop` was set before every image was answered.
        StopRunError: a component met an error that ends the run.
    """
    make_folder(job.folder)
    async with at_work() as crews:
        evaluator = await job.door.open(job.evaluator)
        crews.append(evaluator)
        (mode,) = await ask(evaluator, [partial(_mode_of, job)])
        async with _seated(job, mode, stop) as panel:
            (report,) = await ask(evaluator, [partial(_measure, job, panel)])
    report = _checked(job, report)
    skipped = Counter(report.images_skipped)
    skipped.update(job.skipped)
    notes = (*report.notes, *_notes(job), *_unanswered(panel.failures))
    report = attrs.evolve(_named(job, report), images_skipped=dict(skipped), notes=notes)
    with sealed_file(job.folder / _REPORT) as stream:
        stream.write(json_text(attrs.asdict(report)).encode())
    return report


def _named(job: EvaluateJob, report: Report) -> Report:
    """The report; of blank pictures so in its name, and beside every table, where the convention stands."""
    if job.evaluator.spec.shown_image != "blank":
        return report
    convention = f"{report.convention}, blank images" if report.convention else "blank images"
    return attrs.evolve(report, metric=f"{report.metric} on blank images", convention=convention)


def _mode_of(job: EvaluateJob, evaluator: Any) -> Mode:
    mode: Any = getattr(evaluator, "mode", None)
    if mode not in get_args(Mode):
        known = ", ".join(get_args(Mode))
        raise StepError(
            f"step {job.step!r}: {job.evaluator.spec.name} has mode {mode!r}; an evaluator's mode is one of {known}"
        )
    return mode  # type: ignore[no-any-return]


def _measure(job: EvaluateJob, panel: _Panel, evaluator: Any) -> Any:
    """What the evaluator makes of the answers; the predictions stay only if all were there."""
    try:
        with (
            sealed_file(job.folder / PREDICTIONS) as stream,
            closing(_judge(job, panel, stream.write)) as judged,
            asked_as_a_whole(job.step, job.evaluator, lambda: panel.ended),
        ):
            return evaluator.evaluate(judged)
    except OSError as error:
        raise StepError(f"step {job.step!r}: its predictions cannot be kept: {told(error)}") from error


def _notes(job: EvaluateJob) -> Iterator[str]:
    yield from job.notes
    if shown := job.evaluator.spec.needs.shows:
        yield f"the student is shown {' and '.join(shown)} of each image that has it"
    if job.evaluator.spec.truth == "graph":
        yield "truth: all kept relations of the graph, not only those that the source gave"


def _checked(job: EvaluateJob, report: Any) -> Report:
    if not isinstance(report, Report):
        raise StepError(f"step {job.step!r}: {job.evaluator.spec.name} answered {type(report).__name__}, not a Report")
    for name, value in report.values.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise StepError(f"step {job.step!r}: {job.evaluator.spec.name}: value {name!r} is {value!r}, not a number")
        if not math.isfinite(value):
            raise StepError(
                f"step {job.step!r}: {job.evaluator.spec.name}: value {name!r} is {value}: leave out what is undefined"
            )
    return report


def _unanswered(failures: Sequence[Judged]) -> Iterator[str]:
    """Why the student gave no prediction, one remark per reason with an example."""
    found: dict[str, list[str]] = {}
    for judged in failures:
        if isinstance(judged.prediction, Failure):
            example = f"{judged.image_id}: {judged.prediction.detail or judged.prediction.reason}"
            found.setdefault(judged.prediction.reason, []).append(example)
    for reason, examples in found.items():
        yield f"no prediction for {counted(len(examples), 'image')}: {reason}, such as {examples[0]}"


def _judge(job: EvaluateJob, panel: _Panel, write: Callable[[bytes], Any]) -> Generator[Judged, None, None]:
    """Each held-out image with the student's answer; batch by batch, as the evaluator asks for them."""
    truths = iter(job.held_out)
    while batch := list(islice(truths, panel.width)):
        batch = [attrs.evolve(sample, graph=compact_truth(sample.graph)) for sample in batch]
        for truth, answer in zip(batch, panel.answer(batch), strict=True):
            line, prediction = _written(truth, answer)
            write(line)
            judged = Judged(truth.image_id, truth.graph, prediction)
            if isinstance(prediction, Failure):
                panel.failures.append(judged)
            yield judged


@asynccontextmanager
async def _seated(job: EvaluateJob, mode: Mode, stop: asyncio.Event) -> AsyncIterator[_Panel]:
    """Student and segmenters at work; they begin nothing more once `stop` is set, and are closed at the end."""
    async with at_work() as crews:
        crews.append(await job.door.open(job.student))
        finders = []
        for finder in job.segmenters if mode == "sgdet" else ():
            crews.append(await job.door.open(finder.work))
            finders.append(_Finder(finder.step, finder.verb, crews[-1], finder.work.spec.columns))

        def stop_all() -> None:
            for crew in crews:
                crew.stop()

        async with told_of_stop(stop, stop_all):
            yield _Panel(mode, finders, crews[0], job)


class _Panel:
    """Who answers in an evaluation. `failures`: images without a prediction; `ended`: why no more can be had."""

    def __init__(self, mode: Mode, finders: Sequence[_Finder], student: Crew, job: EvaluateJob) -> None:
        self._mode = mode
        self._shows = job.evaluator.spec.needs.shows
        self._finders = finders
        self._student = student
        self._tally = job.tally
        self._loop = asyncio.get_running_loop()
        self.width = max(map(intake, (student, *(finder.crew for finder in finders))))
        self.failures: list[Judged] = []
        self.ended: Stopped | StopRunError | None = None

    def answer(self, truths: Sequence[Sample]) -> list[Ranking | Failure]:
        """The student's answers, asked for on the evaluator's thread, had on the event loop."""
        return asyncio.run_coroutine_threadsafe(self._answer(truths), self._loop).result()

    async def _answer(self, truths: Sequence[Sample]) -> list[Ranking | Failure]:
        started = time.monotonic()
        self._tally.in_flight = len(truths)
        try:
            answers = await self._predict([bare_sample(truth, self._mode, self._shows) for truth in truths])
        except (Stopped, StopRunError) as error:
            self.ended = error
            raise
        finally:
            self._tally.in_flight = 0
        failed = sum(isinstance(answer, Failure) for answer in answers)
        self._tally.batch(len(truths), failed, time.monotonic() - started)
        return answers

    async def _predict(self, bare: Sequence[Sample]) -> list[Ranking | Failure]:
        shown: list[Sample | Failure] = list(bare)
        for finder in self._finders:
            shown = await finder.find(shown)
        answers = iter(await ask(self._student, [sample for sample in shown if isinstance(sample, Sample)]))
        return [
            sample if isinstance(sample, Failure) else on_shown(sample, next(answers), self._mode) for sample in shown
        ]


def bare_sample(truth: Sample, mode: Mode, shows: Sequence[str] = ()) -> Sample:
    """What the student may see of a held-out image and nothing else of it; `shows`: the columns that its task names."""
    graph = truth.graph
    regions: Iterable[Region] = ()
    if mode == "predcls":
        regions = (Region(label=row.label, box=row.box, mask=row.mask) for row in graph.all.regions)
    elif mode == "sgcls":
        regions = (Region(box=row.box, mask=row.mask) for row in graph.all.regions)
    values = {name: truth.values[name] for name in shows if name in truth.values}
    shown = SceneGraph(graph.width, graph.height, regions)
    return Sample(truth.image_id, shown, truth.uri, image=truth.image, values=values)


def compact_truth(graph: SceneGraph) -> SceneGraph:
    """The kept regions and relations alone, renumbered, so that truth and student count regions alike."""
    regions = graph.regions
    number = {index: position for position, index in enumerate(regions)}
    relations = [
        attrs.evolve(row, subject=number[row.subject], object=number[row.object]) for row in graph.relations.values()
    ]
    kept = [row if row.parent is None else attrs.evolve(row, parent=number.get(row.parent)) for row in regions.values()]
    return SceneGraph(graph.width, graph.height, kept, relations)


@attrs.frozen(eq=False)
class _Finder:
    """One segment step of the pipeline, run on bare images."""

    step: str
    verb: Verb
    crew: Crew
    columns: Mapping[tuple[str, str], Column]

    async def find(self, samples: Sequence[Sample | Failure]) -> list[Sample | Failure]:
        """The samples with the regions found on them; an image that cannot be segmented fails, the others go on."""
        answers = iter(await ask(self.crew, [sample for sample in samples if isinstance(sample, Sample)]))
        return [sample if isinstance(sample, Failure) else self._apply(sample, next(answers)) for sample in samples]

    def _apply(self, sample: Sample, answer: Any) -> Sample | Failure:
        if isinstance(answer, Failure):
            return answer
        applied = take_edit(answer, sample, self.verb, self.step, self.columns)
        return applied if isinstance(applied, Failure) else with_edit(sample, applied)


def saved_relations(ranking: Ranking) -> list[Relation]:
    """The relations of a ranking that are saved: every pair's best predicate, and the best `SAVED_RELATIONS` of all."""
    scores = np.asarray(ranking.scores, np.float32)
    pairs = np.asarray(ranking.pairs, np.int64)
    if not scores.size:
        return []
    weight = np.array([1.0 if region.score is None else region.score for region in ranking.regions], np.float32)
    weight = weight[pairs[:, 0]] * weight[pairs[:, 1]]
    columns = scores.shape[1]
    own = np.arange(len(pairs)) * columns + scores.argmax(axis=1)
    best = top_cells(scores, weight, SAVED_RELATIONS)
    # Where a region's score is 0, so are the products, and the earlier ones come first.
    rest = np.flatnonzero(scores * weight[:, None] == 0)[: SAVED_RELATIONS - len(best)]
    cells = np.unique(np.concatenate([own, best, rest]))
    rows, columns = np.divmod(cells, columns)
    listed = (scores[rows, columns] > 0) & (pairs[rows, 0] != pairs[rows, 1])
    rows, columns = rows[listed], columns[listed]
    order = np.argsort(-scores[rows, columns] * weight[rows], kind="stable")
    return [
        Relation(int(pairs[row, 0]), ranking.predicates[column], int(pairs[row, 1]), score=float(scores[row, column]))
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]


def _written(truth: Sample, prediction: Ranking | Failure) -> tuple[bytes, Ranking | Failure]:
    """The line of a prediction; one that no graph can hold becomes the failure of its image."""
    try:
        return _line(truth.image_id, truth.graph, prediction), prediction
    except Exception as error:  # a ranking's regions and predicates may be anything
        failure = Failure("contract", f"rank gave what no graph holds: {words_of(error)}")
        return _line(truth.image_id, truth.graph, failure), failure


def _line(image_id: str, truth: SceneGraph, prediction: Ranking | Failure) -> bytes:
    from sgforge.jsonl import dump_sample

    if isinstance(prediction, Failure):
        sample = Sample(image_id, SceneGraph(truth.width, truth.height))
        return dump_sample(sample, failed=prediction.reason)
    graph = SceneGraph(truth.width, truth.height, prediction.regions, saved_relations(prediction))
    return dump_sample(Sample(image_id, graph))
