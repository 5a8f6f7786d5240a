"""What of the values a student is shown in an evaluation: what its task names, and nothing else."""

from __future__ import annotations

import hashlib
import json

import attrs
import numpy as np
import pytest

import sgforge as sg
from sgforge.engine.barriers.barriers import evaluation_fingerprint
from sgforge.engine.forecast.forecast import forecast
from sgforge.engine.planning.resolve import resolve
from sgforge.plugins import Owner, Registry, load_plugins
from sgforge.stages import Needs
from sgforge.steps import SourceStep
from tests.columns import pictures, toys


@attrs.frozen
class NoOptions:
    pass


class Source(toys.Source):
    """The last image is held out."""

    def samples(self, roots, name):
        for sample in super().samples(roots, name):
            yield attrs.evolve(sample, split="val" if sample.image_id == "i5" else "train")


class Student(pictures.Student):
    """Notes what it sees of the values of each image."""

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []

    def rank(self, samples):
        self.seen += [{**sample.values, **sample.region_values, **sample.relation_values} for sample in samples]
        return [
            sg.Ranking(sample.graph.all.regions, np.zeros((0, 2), np.int32), (), np.zeros((0, 0), np.float32))
            for sample in samples
        ]


class Evaluator:
    revision = 1
    options = NoOptions()
    mode = "predcls"

    def __init__(self, *shows: str) -> None:
        self.needs = Needs(shows=shows)

    def evaluate(self, judged):
        return sg.Report("toy", {"images": float(len(list(judged)))})


class Captioner(toys.Captioner):
    revision = 1

    @property
    def options(self):
        return _Words(self.words)


@attrs.frozen
class _Words:
    words: str = ""


class Filler(toys.Filler):
    options = NoOptions()


class Judge(toys.Judge):
    revision = 1
    options = NoOptions()


class Questioner(toys.Questioner):
    revision = 1
    options = NoOptions()


def steps(student: Student, evaluator: Evaluator, words: str = "a cät on a mat") -> tuple[sg.Step, ...]:
    made = sg.edit(Filler()), sg.caption(Captioner(words)), sg.question(Questioner()), sg.judge(Judge())
    return *made, sg.train(student), sg.evaluate(evaluator)


def run(folder, student, evaluator, **named):
    return sg.Pipeline(*steps(student, evaluator, **named)).run(Source(), folder, progress=False)


def test_a_student_sees_no_values(tmp_path):
    student = Student()
    report = run(tmp_path / "d", student, Evaluator()).steps[-1].report
    assert student.seen == [{}]
    assert report.notes == ()


def test_it_sees_those_that_its_task_names_and_the_report_lists_them(tmp_path):
    student = Student()
    report = run(tmp_path / "d", student, Evaluator("caption", "questions")).steps[-1].report
    assert [sorted(seen) for seen in student.seen] == [["caption", "questions"]]
    assert student.seen[0]["caption"].text == "a cät on a mat"
    assert student.seen[0]["questions"] == toys.QUESTIONS
    assert report.notes == ("the student is shown caption and questions of each image that has it",)


def test_other_values_are_another_evaluation(tmp_path):
    student = Student()
    for words, done in (("first", 1), ("second", 1), ("first", 0)):
        report = run(tmp_path / "d", student, Evaluator("caption"), words=words)
        assert report.steps[-1].counts.computed == done, words
    assert [seen["caption"].text for seen in student.seen] == ["first", "second"]
    # One that shows nothing is the same with any captions.
    for words, done in (("first", 1), ("second", 0)):
        assert run(tmp_path / "d", student, Evaluator(), words=words).steps[-1].counts.computed == done


def test_an_evaluation_that_shows_nothing_has_the_key_it_had_before_there_were_columns():
    plan = resolve(load_plugins(), steps(Student(), Evaluator()), {"source": SourceStep(Source())})
    keys = [b"0123456789abcdef", b"fedcba9876543210"]
    student = {"component": "tests.columns.test_shown:Student", "options": {}, "revision": 1}
    told = {"components": [student], "keys": hashlib.sha256(b"".join(keys)).hexdigest()}
    expected = hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()
    assert evaluation_fingerprint(plan.step("evaluate"), keys, "a run") == expected


def test_the_plan_knows_of_it(tmp_path):
    student = Student()
    made = steps(student, Evaluator("caption"))
    run(tmp_path / "d", student, Evaluator("caption"))
    found = forecast(resolve(load_plugins(), made, {"source": SourceStep(Source())}), tmp_path / "d", sg.Roots())
    assert [(one.to_compute, one.reused) for one in found.steps][-1] == (0, 1)


@pytest.mark.parametrize("column", ["answers", "chosen", "toy.text"])
def test_what_nobody_may_be_shown_is_refused_at_registration(column):
    class Plugin:
        @sg.hookimpl
        def sgforge_register_evaluators(self, register):
            register("odd", Evaluator, needs=Needs(shows=("caption", column)))

    report = Registry().add(Plugin(), Owner("odd"))
    assert f"needs show {column!r}; an evaluator may show the student caption, group, questions" in report.problems[0]
