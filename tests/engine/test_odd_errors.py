"""Exceptions that say nothing, or that no one expects: each costs its image, or is told with its component's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import engine_toys
import pytest
from engine_toys import ToyEvaluator, ToyStudent, ToyTeacher, sample

import sgforge as sg
from sgforge.edits import Edit
from sgforge.errors import ConfigError, StepError
from sgforge.stages import Failure
from sgforge.testing import IsolatedPlugins
from sgforge.text.blame import told


class MuteError(ValueError):
    """Raises when it is asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("I say nothing")

    __repr__ = __str__


class Panic(BaseException):
    """What an extension module raises when its own code broke."""


class Last(BaseException):
    """Neither it nor its message can be had."""

    def __str__(self) -> str:
        raise GeneratorExit


ODD = [MuteError(), Panic("core"), Last(), GeneratorExit("gone"), SystemExit(3), StopIteration("end"), RecursionError()]


def names(error: BaseException) -> str:
    return type(error).__name__


class Raising:
    """A teacher that raises for image "00003"."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def complete(self, samples):
        for given in samples:
            if given.image_id == "00003":
                raise self.error
        return [Edit() for _ in samples]


class AsyncRaising(Raising):
    async def complete(self, sample):
        if sample.image_id == "00003":
            raise self.error
        return Edit()


def run(folder: Path, *steps, count: int = 8):
    return sg.Pipeline(*steps).run(sg.source("toy", count=count), folder, progress=False)


@pytest.mark.parametrize("error", ODD, ids=names)
def test_what_a_batch_raises_costs_the_image_it_is_about(toys, tmp_path, error):
    report = run(tmp_path, sg.complete(Raising(error)))
    assert (report.step("complete").counts.computed, report.step("complete").counts.failed) == (7, 1)
    (failed,) = report.failures
    assert (failed.image_id, failed.reason) == ("00003", "exception")
    assert failed.detail.startswith(type(error).__name__)
    str(report)


@pytest.mark.parametrize("error", [error for error in ODD if not isinstance(error, StopIteration)], ids=names)
def test_what_an_async_component_raises_costs_its_image(toys, tmp_path, error):
    report = run(tmp_path, sg.complete(AsyncRaising(error)))
    assert (report.step("complete").counts.computed, report.step("complete").counts.failed) == (7, 1)
    assert report.failures[0].detail.startswith(type(error).__name__)


def test_a_message_that_cannot_be_had_is_said_to_be_so(toys, tmp_path):
    (failed,) = run(tmp_path, sg.complete(Raising(MuteError()))).failures
    expected = (
        r"MuteError: \(its message cannot be read: __str__ raised RuntimeError\) \(test_odd_errors.py, line \d+\)"
    )
    assert re.fullmatch(expected, failed.detail)


@pytest.mark.parametrize("error", ODD, ids=names)
def test_what_a_source_raises_is_told_with_its_name(toys, tmp_path, error):
    class Source:
        def samples(self, roots: object, name: str) -> Iterator[object]:
            yield sample("a")
            raise error

    with pytest.raises(StepError) as found:
        sg.Pipeline(sg.complete("toy")).run(Source(), tmp_path, progress=False)
    # A generator cannot raise StopIteration: Python makes it a RuntimeError.
    name = "RuntimeError" if isinstance(error, StopIteration) else type(error).__name__
    assert str(found.value).startswith(f"source 'source' failed: {name}: ")


@pytest.mark.parametrize("error", ODD, ids=names)
def test_what_setup_and_close_raise(toys, tmp_path, caplog, error):
    class Opening(ToyTeacher):
        def setup(self, resources):
            raise error

    class Closing(ToyTeacher):
        def close(self):
            raise error

    with pytest.raises(StepError) as found:
        run(tmp_path / "a", sg.complete(Opening()))
    assert str(found.value).startswith(f"teacher 'Opening' could not be set up: {type(error).__name__}: ")
    assert run(tmp_path / "b", sg.complete(Closing())).status == "done"
    assert f"Closing could not be closed: {type(error).__name__}: " in caplog.text


@pytest.mark.parametrize("error", ODD, ids=names)
def test_what_rank_raises_costs_its_image_and_what_an_evaluator_raises_its_step(toys, tmp_path, error):
    class Student(ToyStudent):
        def rank(self, samples):
            if any(given.image_id == "00004" for given in samples):
                raise error
            return super().rank(samples)

    class Evaluator(ToyEvaluator):
        def evaluate(self, judged):
            list(judged)
            raise error

    steps = (sg.complete("toy"), sg.train(Student()))
    report = run(tmp_path, *steps, sg.evaluate("toy"), count=20).step("evaluate").report
    assert (report.images_used, report.values["failures"]) == (3, 1.0)
    with pytest.raises(StepError) as found:
        run(tmp_path, *steps, sg.evaluate(Evaluator()), count=20)
    assert str(found.value).startswith(f"step 'evaluate': Evaluator failed: {type(error).__name__}: ")


@pytest.mark.parametrize("error", ODD, ids=names)
def test_what_a_training_in_this_process_raises_is_its_steps_fault(toys, tmp_path, error):
    class Student(ToyStudent):
        def train(self, snapshot_path, selection, out_dir, resources):
            raise error

    with pytest.raises(StepError) as found:
        run(tmp_path, sg.train(Student()))
    assert str(found.value).startswith(f"step 'train': Student failed to train: {type(error).__name__}: ")


def test_remarks_that_cannot_be_made_do_not_cost_the_step(toys, tmp_path):
    class Remarking(ToyTeacher):
        def answer(self, sample):
            return Edit(faults={"unread": 1})

        @staticmethod
        def notes(counts):
            raise MuteError

    (note,) = run(tmp_path, sg.complete(Remarking())).step("complete").notes
    assert note.startswith("its notes could not be made: MuteError: (its message cannot be read")


def test_a_failures_detail_is_a_text():
    with pytest.raises(StepError, match="a failure's detail is a text, not MuteError"):
        Failure("odd", MuteError())


def test_told_names_the_line_of_the_plugin():
    with pytest.raises(Panic) as found:
        Raising(Panic("core")).complete([sample("00003")])
    assert re.fullmatch(r"Panic: core \(test_odd_errors.py, line \d+\)", told(found.value))


class Checked:
    """A source of one image; `fails`: the one of its methods that raises."""

    def __init__(self, fails: str) -> None:
        self.fails = fails

    def _act(self, name: str) -> None:
        if self.fails == name:
            raise MuteError

    def check(self, roots: object, name: str) -> None:
        self._act("check")

    def samples(self, roots: object, name: str) -> Iterator[object]:
        self._act("samples")
        yield sample("a")

    def remarks(self) -> list[str]:
        self._act("remarks")
        return ["all read"]


def read(folder: Path, fails: str):
    return sg.Pipeline(sg.segment("toy")).run(Checked(fails), folder, progress=False)


def test_a_source_whose_check_fails_is_a_fault_of_the_plan(toys, tmp_path):
    with pytest.raises(ConfigError, match=r"its check failed: MuteError: \(its message cannot be read"):
        read(tmp_path / "data", "check")
    assert not (tmp_path / "data").exists()


def test_a_source_whose_remarks_fail_is_read_all_the_same(toys, tmp_path):
    assert read(tmp_path / "a", "").step("source").notes == ("all read",)
    report = read(tmp_path / "b", "remarks")
    assert report.status == "done"
    (note,) = report.step("source").notes
    assert note.startswith("the remarks of source 'source' could not be made: MuteError: (its message")


@pytest.mark.parametrize("error", ODD, ids=names)
def test_a_tracker_that_raises_breaks_no_run(tmp_path, error):
    class Tracker:
        @sg.hookimpl
        def sgforge_step_finished(self, event):
            raise error

    with IsolatedPlugins(engine_toys.this_plugin(), Tracker()):
        assert run(tmp_path, sg.segment("toy")).status == "done"
