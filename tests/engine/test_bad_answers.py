"""Answers and samples that no dataset can hold: each costs its image and nothing else."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import sgforge as sg
from sgforge.edits import Edit, Verdict
from sgforge.engine.report import RunReport
from sgforge.errors import GraphError, StepError
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph
from sgforge.stages import Answer, Failure

HALF = "\ud83d"
"""Half of a surrogate pair: what a model's JSON that was cut inside an escape decodes to."""


class Code(enum.Enum):
    LOW = "low"


class Given:
    """A source of these samples."""

    def __init__(self, *samples: Sample) -> None:
        self._samples = samples

    def samples(self, roots: object, name: str) -> Iterator[Sample]:
        return iter(self._samples)


class Odd:
    """An editor, filter or segmenter that answers for image "b" what it is told, and keeps quiet about the others."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        self._answer = answer

    def edit(self, samples: list[Sample]) -> list[Answer]:
        return [self._answer() if sample.image_id == "b" else Edit.keep(0, "seen") for sample in samples]


def graph() -> SceneGraph:
    return SceneGraph(100, 80, [Region("cat", (0, 0, 9, 9)), Region("mat", (0, 5, 50, 50))], [Relation(0, "on", 1)])


def run(folder: Path, answer: Callable[[], Answer], *more: Sample) -> RunReport:
    samples = [Sample(name, graph()) for name in "abc"]
    return sg.Pipeline(sg.edit(Odd(answer))).run(Given(*samples, *more), folder, progress=False)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Edit.add(Relation(0, HALF, 1)),
        lambda: Edit.add(Region(HALF)),
        lambda: Edit.add(Region("x", descriptions=[HALF])),
        lambda: Edit.set("region", 0, label=HALF),
        lambda: Edit.reject(0, HALF),
        lambda: Edit.reject(0, Code.LOW),
        lambda: Edit.reject(0, 3),
        lambda: Edit.reject(0.0, "low"),
        lambda: Edit.reject(2**40, "low"),
        lambda: Edit.drop(3),
        lambda: Edit.drop(""),
        lambda: Edit.drop(HALF),
        lambda: Edit.keep(0) + Edit(faults={"unknown": Code.LOW}),
        lambda: Edit.keep(0) + Edit(faults={3: 2}),
        lambda: Edit.keep(0) + Edit(faults={"unknown": np.int64(2)}),
        lambda: Edit.keep(0) + Edit(faults={HALF: 2}),
        lambda: Edit.add(Region("x", level=1.5)),
        lambda: Edit.add(Region("x", parent=np.int64(1))),
        lambda: Edit.add(Region("x", source=5)),
        lambda: Edit.add(Region("x", mask=Mask(80, 100, 0, 0, 1, 1, "01"))),
        lambda: Edit(verdicts=[Verdict("regions", 0, "kept")]),
        lambda: Failure(3),
        lambda: Failure(HALF),
        lambda: Failure(""),
    ],
)
def test_an_answer_that_cannot_be_kept_costs_its_image_alone(toys, tmp_path, answer):
    report = run(tmp_path, answer)
    step = report.steps[-1]
    assert (step.counts.computed, step.counts.failed, report.exit_code) == (2, 1, 4)
    data = sg.Dataset.open(tmp_path)
    assert [sample.graph.all.relations[0].reason for sample in data] == ["seen", None, "seen"]
    # What stands in the journal and in the snapshot is whole: the next run computes nothing but the failed image.
    again = run(tmp_path, Edit)
    assert again.exit_code == 0


@pytest.mark.parametrize(
    "sample",
    [
        Sample(HALF, graph()),
        Sample("z", split=HALF),
        Sample("z", SceneGraph(attributes={"style": HALF})),
        Sample("z", SceneGraph(0, 0, [Region(HALF)])),
        Sample("z", SceneGraph(0, 0, [Region("x", reason=4)])),
        Sample("z", SceneGraph(0, 0, [Region("x", source=0.5)])),
    ],
)
def test_a_sample_that_cannot_be_kept_is_a_failure_of_the_source(toys, tmp_path, sample):
    report = run(tmp_path, lambda: Edit.keep(0, "seen"), sample)
    assert report.steps[0].reasons == {"annotation": 1}
    assert [kept.image_id for kept in sg.Dataset.open(tmp_path)] == ["a", "b", "c"]


def test_sizes_that_a_column_cannot_hold_are_refused():
    assert SceneGraph(2**31 - 1, 1).width == 2**31 - 1
    for size in ((2**31, 1), (1, 2**31)):
        with pytest.raises(GraphError, match="more than 2147483647 pixels on a side"):
            SceneGraph(*size)


def test_a_failure_needs_a_reason_code():
    for reason in (None, 3, "", "two\nlines", HALF):
        with pytest.raises(StepError, match="short code"):
            Failure(reason)
