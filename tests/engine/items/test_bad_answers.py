"""Answers and samples that no dataset can hold: each costs its image and nothing else."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import sgforge as sg
from sgforge.edits import Edit, Verdict
from sgforge.engine.reporting.report import RunReport
from sgforge.errors import GraphError, StepError
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph
from sgforge.stages import Answer, Failure

HALF = "\ud83d"
"""Half of a surrogate pair: what a model's JSON that was cut inside an escape decodes to."""


class Code(enum.Enum):
    LOW = "low"


class IntEnumOf(enum.IntEnum):
    FIRST = 0


class Hostile:
    """Equal to nothing, in no set, no text, no list, no index: whatever it is asked raises."""

    def _refuse(self, *_: object) -> NoReturn:
        raise RuntimeError("hands off")

    __eq__ = __hash__ = __iter__ = __len__ = __index__ = __float__ = __bool__ = __lt__ = __le__ = _refuse  # type: ignore[assignment]


class HostileText(str):
    """A text that must not be compared, hashed or encoded."""

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("hands off")

    __eq__ = __hash__ = __iter__ = __len__ = encode = isascii = __str__ = _refuse  # type: ignore[assignment]


def bypassed(value: Any, **fields: Any) -> Any:
    """The value with fields that its own checks never saw."""
    for name, given in fields.items():
        object.__setattr__(value, name, given)
    return value


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
        lambda: Edit.add(Region("x", label=Hostile())),  # type: ignore[misc]
        lambda: Edit.set("region", 0, label=Hostile()),
        lambda: Edit.set("region", 0, box=Hostile()),
        lambda: Edit.set("region", 0, descriptions=Hostile()),
        lambda: Edit.set("region", 0, score=Hostile()),
        lambda: Edit.set("relation", 0, predicate=Hostile()),
        lambda: Edit.set("region", 0, mask=Hostile()),
        lambda: Edit.set("region", 0, mask="a mask"),
        lambda: Edit.set("region", 0, depth=float("nan")),
        lambda: Edit.set("region", 0, score=10**5000),
        lambda: Edit.reject(10**5000, "low"),
        lambda: Edit.reject(Hostile(), "low"),
        lambda: Edit.reject(0, "low", Hostile()),
        lambda: Edit.reject(0, "low", float("nan")),
        lambda: Edit.reject(0, "low", 1e300),
        lambda: Edit.reject(0, Hostile()),
        lambda: Edit.reject(0, "low", target=Hostile()),
        lambda: Edit(verdicts=[Verdict("relation", 0, Hostile())]),
        lambda: Edit(verdicts=[Verdict("relation", 0, HostileText("maybe"))]),
        lambda: Edit(verdicts=Hostile()),
        lambda: Edit(verdicts=[Hostile()]),
        lambda: Edit(sets=[3]),
        lambda: Edit(regions=[Relation(0, "on", 1)]),
        lambda: Edit.add(bypassed(Relation(0, "on", 1), object=10**5000)),
        lambda: Edit.add(bypassed(Relation(0, "on", 1), subject=Hostile())),
        lambda: Edit.add(bypassed(Region("x"), parent=10**5000)),
        lambda: Edit.add(bypassed(Region("x"), descriptions=Hostile())),
        lambda: Edit.add(bypassed(Region("x"), status=HostileText("maybe"))),
        lambda: bypassed(Edit.keep(0), faults={"odd": 10**5000}),
        lambda: bypassed(Edit.keep(0), dropped=Hostile()),
        lambda: bypassed(Edit.keep(0), sets=None),
        lambda: Edit.set("relation", 0, category=HALF),
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
    ("answer", "held"),
    [
        (lambda: Edit.add(Region(HostileText("cup"))), ("cup", None, ())),
        (lambda: Edit.add(Region(np.str_("cup"), source=HostileText("s"))), ("cup", None, ())),
        (lambda: Edit.add(Region("cup"), Relation(IntEnumOf.FIRST, np.str_("near"), 1)), ("cup", None, ())),
        (lambda: Edit.add(Region("cup", score=np.float32(0.5))), ("cup", 0.5, ())),
        (
            lambda: Edit.add(Region("cup")) + Edit.set("region", 2, descriptions=iter(["a", "b"])),
            ("cup", None, ("a", "b")),
        ),
    ],
)
def test_values_of_odd_types_are_kept_as_what_they_say(toys, tmp_path, answer, held):
    """A list that can be read once is read once, and both the journal and the graph have it."""
    assert run(tmp_path, answer).exit_code == 0
    region = list(sg.Dataset.open(tmp_path))[1].graph.all.regions[2]
    assert (region.label, region.score, region.descriptions) == held
    assert type(region.label) is str


def test_a_hostile_value_is_told_with_the_place_where_it_raised(toys, tmp_path):
    (failure,) = run(tmp_path, lambda: Edit.set("region", 0, label=Hostile(), depth=Hostile())).failures
    assert failure.reason == "contract"
    (failure,) = run(tmp_path, lambda: Edit.set("region", 0, descriptions=Hostile())).failures
    assert (
        "its edit cannot be used: one of its values raised RuntimeError (test_bad_answers.py, line " in failure.detail
    )


def test_an_error_of_our_own_is_no_fault_of_an_image(toys, tmp_path, monkeypatch):
    """What an exact edit cannot cause must be seen, not counted among the failed images."""

    def broken(*_: object, **__: object) -> NoReturn:
        raise TypeError("unsupported operand")

    monkeypatch.setattr("sgforge.engine.executors.check_answer.apply_edit", broken)
    with pytest.raises(TypeError, match="unsupported operand"):
        run(tmp_path, lambda: Edit.keep(0, "seen"))
    monkeypatch.undo()
    assert run(tmp_path, lambda: Edit.keep(0, "seen")).exit_code == 0


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
