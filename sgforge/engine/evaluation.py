"""Evaluation as a barrier: a student ranks held-out images of which it sees only what the mode allows.

New samples are built from an allow-list: predcls shows boxes, masks and labels; sgcls boxes and masks; sgdet the image
alone, with regions that the pipeline's segmenters find on it. Truth never reaches the student, and no graph changes.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from sgforge.blame import place_of
from sgforge.durable import whole_file
from sgforge.edits import apply_edit
from sgforge.engine.components import ComponentSpec, is_async
from sgforge.engine.executors import DEFAULT_BATCH
from sgforge.engine.instances import Stopped, answer_batch, build, check_answer, close
from sgforge.engine.plan import PlannedStep
from sgforge.engine.rankings import check_ranking, on_shown
from sgforge.engine.training import write_json
from sgforge.errors import GraphError, SgforgeError, StepError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.stages import Failure, Judged, Mode, Ranking, Report, Resources, check_role

__all__ = ["PREDICTIONS", "EvaluateJob", "bare_sample", "compact_truth", "evaluate", "load_report"]

_REPORT: Final = "report.json"
PREDICTIONS: Final = "predictions.jsonl"
"""The file in a step's folder that holds what the student said of each image."""
SAVED_RELATIONS: Final = 1000
"""Relations of one image in the saved predictions: the best predicate of every pair, and the best so many of all."""


@attrs.frozen
class EvaluateJob:
    """One evaluation. `held_out` gives the samples whose graphs are the truth, in the order of their ids.

    `segmenters` come with what each needs to be set up. `skipped`: images left out before, by reason. `notes`: remarks
    for the report.
    """

    step: str
    spec: ComponentSpec
    student: ComponentSpec
    resources: Resources
    segmenters: Sequence[tuple[PlannedStep, Resources]]
    held_out: Iterable[Sample]
    skipped: Mapping[str, int]
    folder: Path
    batch_size: int | None = None
    notes: tuple[str, ...] = ()


def load_report(folder: Path) -> Report | None:
    """The finished report of a step's folder, None if there is none yet."""
    try:
        found = json.loads((folder / _REPORT).read_text())
    except FileNotFoundError:
        return None
    found["notes"] = tuple(found["notes"])
    return Report(**found)


def evaluate(job: EvaluateJob, should_stop: Callable[[], bool]) -> Report:
    """Evaluate in this thread; report and predictions are saved in the step's folder, the report last.

    Raises:
        StepError: a component failed as a whole, or answered something else than its contract says.
        Stopped: `should_stop` became true.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    evaluator = build(job.spec, Resources())
    failures: list[Judged] = []
    try:
        with (
            whole_file(job.folder / PREDICTIONS) as stream,
            closing(_judge(job, evaluator.mode, stream.write, failures.append, should_stop)) as judged,
        ):
            report = evaluator.evaluate(judged)
    except (SgforgeError, Stopped):
        raise
    except Exception as error:
        raise StepError(
            f"step {job.step!r}: {job.spec.name} failed: {type(error).__name__}: {error}{place_of(error)}"
        ) from error
    finally:
        close(evaluator)
    report = _checked(job, report)
    skipped = {**report.images_skipped}
    for reason, count in job.skipped.items():
        skipped[reason] = skipped.get(reason, 0) + count
    notes = (*report.notes, *_notes(job), *_unanswered(failures))
    report = attrs.evolve(report, images_skipped=skipped, notes=notes)
    write_json(job.folder / _REPORT, attrs.asdict(report))
    return report


def _notes(job: EvaluateJob) -> Iterator[str]:
    yield from job.notes
    if job.spec.truth == "graph":
        yield "truth: all kept relations of the graph, not only those that the source gave"


def _checked(job: EvaluateJob, report: Any) -> Report:
    if not isinstance(report, Report):
        raise StepError(f"step {job.step!r}: {job.spec.name} answered {type(report).__name__}, not a Report")
    for name, value in report.values.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise StepError(f"step {job.step!r}: {job.spec.name}: value {name!r} is {value!r}, not a number")
        if not math.isfinite(value):
            raise StepError(
                f"step {job.step!r}: {job.spec.name}: value {name!r} is {value}: leave out what is undefined"
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
        yield f"no prediction for {len(examples)} images: {reason}, such as {examples[0]}"


def _judge(
    job: EvaluateJob,
    mode: Mode,
    write: Callable[[bytes], Any],
    note_failure: Callable[[Judged], None],
    should_stop: Callable[[], bool],
) -> Generator[Judged, None, None]:
    """Each held-out image with the student's answer; batch by batch, as the evaluator asks for them."""
    with ExitStack() as opened:

        def open_one(spec: ComponentSpec, resources: Resources) -> Any:
            instance = build(spec, resources)
            opened.callback(close, instance)
            return instance

        student = open_one(job.student, job.resources)
        segmenters = job.segmenters if mode == "sgdet" else ()
        finders = [_Finder(step, open_one(step.spec, resources)) for step, resources in segmenters]
        truths = iter(job.held_out)
        while batch := list(islice(truths, job.batch_size or DEFAULT_BATCH)):
            if should_stop():
                raise Stopped
            batch = [attrs.evolve(sample, graph=compact_truth(sample.graph)) for sample in batch]
            for truth, answer in zip(batch, _predict(student, finders, batch, mode), strict=True):
                line, prediction = _written(truth, answer)
                write(line)
                judged = Judged(truth.image_id, truth.graph, prediction)
                if isinstance(prediction, Failure):
                    note_failure(judged)
                yield judged


def _predict(
    student: Any, finders: Sequence[_Finder], truths: Sequence[Sample], mode: Mode
) -> Iterator[Ranking | Failure]:
    shown: list[Sample | Failure] = [bare_sample(truth, mode) for truth in truths]
    for finder in finders:
        shown = list(finder.find(shown))
    asked = [sample for sample in shown if isinstance(sample, Sample)]
    answers = iter(answer_batch(student.rank, asked, check_ranking) if asked else ())
    for sample in shown:
        yield sample if isinstance(sample, Failure) else on_shown(sample, next(answers), mode)


def bare_sample(truth: Sample, mode: Mode) -> Sample:
    """What the student may see of a held-out image, and nothing else of it."""
    graph = truth.graph
    regions: Iterable[Region] = ()
    if mode == "predcls":
        regions = (Region(label=row.label, box=row.box, mask=row.mask) for row in graph.all.regions)
    elif mode == "sgcls":
        regions = (Region(box=row.box, mask=row.mask) for row in graph.all.regions)
    return Sample(truth.image_id, SceneGraph(graph.width, graph.height, regions), truth.uri, image=truth.image)


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

    step: PlannedStep
    instance: Any

    def find(self, samples: Sequence[Sample | Failure]) -> Iterator[Sample | Failure]:
        asked = [sample for sample in samples if isinstance(sample, Sample)]
        answers = iter(self._answers(asked) if asked else ())
        for sample in samples:
            yield sample if isinstance(sample, Failure) else self._apply(sample, next(answers))

    def _answers(self, samples: Sequence[Sample]) -> list[Any]:
        method = self.step.verb.method
        call = getattr(self.instance, method)
        if not is_async(self.instance, method):
            return answer_batch(call, samples, check_answer)

        async def ask() -> list[Any]:
            return list(await asyncio.gather(*(call(sample) for sample in samples)))

        return answer_batch(lambda _: asyncio.run(ask()), samples, check_answer)

    def _apply(self, sample: Sample, answer: Any) -> Sample | Failure:
        if isinstance(answer, Failure):
            return answer
        wrong = check_role(self.step.verb.name, answer)
        if wrong is not None:
            return Failure("role", wrong)
        try:
            return attrs.evolve(sample, graph=apply_edit(sample.graph, answer, self.step.name).graph)
        except GraphError as error:
            return Failure("contract", f"its edit does not fit the graph: {error}")


def saved_relations(ranking: Ranking) -> list[Relation]:
    """The relations of a ranking that are saved: every pair's best predicate, and the best `SAVED_RELATIONS` of all."""
    scores = np.asarray(ranking.scores, np.float32)
    pairs = np.asarray(ranking.pairs, np.int64)
    if not scores.size:
        return []
    weight = np.array([1.0 if region.score is None else region.score for region in ranking.regions], np.float32)
    ranked = scores * (weight[pairs[:, 0]] * weight[pairs[:, 1]])[:, None]
    chosen = np.zeros(scores.shape, bool)
    chosen[np.arange(len(pairs)), scores.argmax(axis=1)] = True
    chosen.ravel()[np.argsort(-ranked, axis=None, kind="stable")[:SAVED_RELATIONS]] = True
    chosen &= (scores > 0) & (pairs[:, :1] != pairs[:, 1:])
    rows, columns = np.nonzero(chosen)
    order = np.argsort(-ranked[rows, columns], kind="stable")
    return [
        Relation(int(pairs[row, 0]), ranking.predicates[column], int(pairs[row, 1]), score=float(scores[row, column]))
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]


def _written(truth: Sample, prediction: Ranking | Failure) -> tuple[bytes, Ranking | Failure]:
    """The line of a prediction; one that no graph can hold becomes the failure of its image."""
    try:
        return _line(truth.image_id, truth.graph, prediction), prediction
    except Exception as error:  # a ranking's regions and predicates may be anything
        failure = Failure("contract", f"rank gave what no graph holds: {error}")
        return _line(truth.image_id, truth.graph, failure), failure


def _line(image_id: str, truth: SceneGraph, prediction: Ranking | Failure) -> bytes:
    from sgforge.jsonl import dump_sample

    if isinstance(prediction, Failure):
        sample = Sample(image_id, SceneGraph(truth.width, truth.height))
        return dump_sample(sample, failed=prediction.reason)
    graph = SceneGraph(truth.width, truth.height, prediction.regions, saved_relations(prediction))
    return dump_sample(Sample(image_id, graph))
