"""A Ctrl-C while local components run: the batch that runs is finished and kept, no other begins."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

import pytest
from engine_toys import StageOptions, StudentOptions, ToySgdet, ToyStudent, ToyTeacher, sample
from support.waiting import LONGEST

import sgforge as sg
from sgforge.edits import Edit
from sgforge.engine.executors import local
from sgforge.engine.sources.file_hashes import FileHashes
from sgforge.engine.sources.reading import ReadingStopped, read_sources
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.images import Roots


class CtrlC:
    """Sends this process a real SIGINT, and waits until the crews have heard of it."""

    def __init__(self) -> None:
        self.heard = threading.Event()

    def __call__(self) -> None:
        if not self.heard.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            assert self.heard.wait(LONGEST)


@pytest.fixture
def ctrl_c(monkeypatch) -> CtrlC:
    pressed = CtrlC()
    stop = local._BatchWorker.stop

    def stop_and_tell(worker: local._BatchWorker) -> None:
        stop(worker)
        pressed.heard.set()

    monkeypatch.setattr(local._BatchWorker, "stop", stop_and_tell)
    return pressed


class Pressing(ToyTeacher):
    """A teacher in whose batch with image `at` Ctrl-C is pressed; it knows what it was asked."""

    def __init__(self, press, at: str = "00000", fails: bool = False) -> None:
        super().__init__(StageOptions())
        self.press, self.at, self.fails = press, at, fails
        self.asked: list[list[str]] = []

    def complete(self, samples: Sequence[Sample]):
        self.asked.append([given.image_id for given in samples])
        if self.at in self.asked[-1]:
            self.press()
            if self.fails:
                raise RuntimeError("cannot do this batch")
        return super().complete(samples)

    def segment(self, samples: Sequence[Sample]):
        self.complete(samples)
        return [Edit() for _ in samples]


def run(folder, *steps, count: int = 12):
    return sg.Pipeline(*steps).run(sg.source("toy", count=count), folder, progress=False)


def test_the_batch_that_runs_is_kept_and_no_other_begins(toys, tmp_path, ctrl_c):
    teacher = Pressing(ctrl_c)
    report = run(tmp_path, sg.complete(teacher, batch_size=4))
    assert teacher.asked == [["00000", "00001", "00002", "00003"]]
    step = report.step("complete")
    assert (report.status, report.exit_code) == ("interrupted", 130)
    assert (step.status, step.counts.computed, step.counts.failed) == ("unfinished", 4, 0)
    again = Pressing(ctrl_c)
    done = run(tmp_path, sg.complete(again, batch_size=4))
    assert [names[0] for names in again.asked] == ["00004", "00008"]
    assert (done.step("complete").counts.computed, done.step("complete").counts.reused) == (8, 4)


def test_a_batch_that_fails_after_ctrl_c_is_not_tried_image_by_image(toys, tmp_path, ctrl_c):
    teacher = Pressing(ctrl_c, fails=True)
    step = run(tmp_path, sg.complete(teacher, batch_size=4)).step("complete")
    assert len(teacher.asked) == 1
    # Nobody knows which of the four is at fault: none is called failed.
    assert (step.status, step.counts.computed, step.counts.failed) == ("unfinished", 0, 0)


@pytest.mark.parametrize("batch", [4, 12])
def test_ctrl_c_when_the_last_batch_runs_leaves_a_finished_run(toys, tmp_path, ctrl_c, batch):
    report = run(tmp_path, sg.complete(Pressing(ctrl_c, "00011"), batch_size=batch))
    assert ctrl_c.heard.is_set()
    assert (report.status, report.exit_code) == ("done", 0)
    assert report.step("complete").counts.computed == 12
    assert sg.Dataset.open(tmp_path).snapshot.id == report.snapshot


def test_a_step_that_is_whole_is_published_beside_one_that_was_stopped(toys, tmp_path, ctrl_c):
    first = Pressing(lambda: None)
    passed = threading.Event()

    class Second(Pressing):
        def complete(self, samples):
            assert passed.wait(LONGEST)
            return super().complete(samples)

    def batch(samples):
        answers = ToyTeacher.complete(first, samples)
        if samples[-1].image_id == "00011":
            passed.set()
        return answers

    first.complete = batch
    second = Second(ctrl_c)
    report = run(
        tmp_path, sg.complete(first, batch_size=12), sg.complete(second, name="second", batch_size=4), count=12
    )
    assert (report.step("complete").status, report.step("second").status) == ("done", "unfinished")
    assert report.status == "interrupted"
    assert report.snapshot == report.step("complete").snapshot
    assert len(second.asked) == 1


def test_generate_begins_no_other_batch(toys, tmp_path, ctrl_c):
    asked: list[int] = []

    class Student(ToyStudent):
        def generate(self, samples):
            asked.append(len(samples))
            ctrl_c()
            return super().generate(samples)

    student = Student(StudentOptions())
    step = run(tmp_path, sg.train(student), sg.generate(student, batch_size=3)).step("generate")
    assert (asked, step.status, step.counts.computed) == ([3], "unfinished", 3)


def test_an_evaluation_asks_nobody_after_ctrl_c(toys, tmp_path, ctrl_c):
    ranked: list[int] = []

    class Student(ToyStudent):
        def rank(self, samples):
            ranked.append(len(samples))
            return super().rank(samples)

    finder = Pressing(ctrl_c, "00004")
    steps = sg.segment(finder, on={"split": "train"}), sg.train(Student()), sg.evaluate(ToySgdet())
    report = run(tmp_path, *steps, count=20)
    assert report.step("evaluate").status == "unfinished"
    assert report.status == "interrupted"
    assert ranked == []
    assert not list((tmp_path / "steps").glob("*/predictions.jsonl"))


def test_an_evaluation_whose_last_batch_runs_is_finished(toys, tmp_path, ctrl_c):
    class Student(ToyStudent):
        def rank(self, samples):
            ctrl_c()
            return super().rank(samples)

    report = run(tmp_path, sg.train(Student()), sg.evaluate("toy"), count=20)
    assert ctrl_c.heard.is_set()
    assert (report.status, report.step("evaluate").report.images_used) == ("done", 4)


@pytest.mark.parametrize("items", [0, 1, 5])
def test_sources_that_were_read_to_their_end_before_a_stop_are_whole(items):
    given = [sample(f"{number}") for number in range(items)]

    class Source:
        def samples(self, roots, name):
            yield from given
            stopped.append(True)

    stopped: list[bool] = []
    readings = read_sources({"a": Source()}, Roots({}), FileHashes.none(), None, lambda: bool(stopped))
    assert len(list(readings)) == items


def test_sources_that_a_stop_cut_short_are_not():
    class Source:
        def samples(self, roots, name):
            yield sample("0")
            stopped.append(True)
            yield sample("1")

    stopped: list[bool] = []
    with pytest.raises(ReadingStopped):
        list(read_sources({"a": Source()}, Roots({}), FileHashes.none(), None, lambda: bool(stopped)))


def test_a_journal_that_cannot_be_written_leaves_the_step_unfinished(toys, tmp_path, monkeypatch):
    from sgforge.dataset.journal import Journal

    async def refuse(journal: Journal, rows: object) -> None:
        raise StepError("the disk is full")

    monkeypatch.setattr(Journal, "keep", refuse)
    with pytest.raises(StepError, match="the disk is full"):
        run(tmp_path, sg.complete("toy"))
