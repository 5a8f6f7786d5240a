"""A training that another executor opens: it comes to what it comes to here, and ends as it ends here."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import engine_children
import engine_toys
import pytest
import training_toys
from engine_children import ChildExecutor
from engine_toys import read_log
from support.processes import is_running
from support.waiting import wait_until

import sgforge as sg
from sgforge.engine.barriers.checkpoints import load_checkpoint
from sgforge.engine.executors.local import LocalExecutor
from sgforge.engine.executors.training.lesson import Lesson, pack_lesson, unpack_lesson
from sgforge.engine.executors.work import Training, Work
from sgforge.engine.executors.work_messages import access_in, pack_work, unpack_work
from sgforge.engine.models.child_models import ModelAccess
from sgforge.engine.planning.components import find_spec
from sgforge.engine.reporting.progress import NoProgress
from sgforge.errors import StepError
from sgforge.models import GatewaySettings, ModelSettings
from sgforge.plugins import Registry
from sgforge.stages import Resources, Selection
from sgforge.steps import RunSettings
from sgforge.testing import IsolatedPlugins


@pytest.fixture
def children(tmp_path, monkeypatch) -> Iterator[Registry]:
    """The toys and the executor, in this process and in those that it starts."""
    with IsolatedPlugins(engine_toys, training_toys, engine_children) as registry:
        for name, value in training_toys.training_environment(tmp_path / "site").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SGFORGE_PLUGINS", "toys,trainings,children")
        engine_children.install(tmp_path / "site")
        yield registry


def run(data: Path, *steps, executor="children", progress=False):
    return sg.Pipeline(*steps).run(sg.source("toy", count=20), data, executor=executor, progress=progress)


def folder_of(data: Path) -> Path:
    (folder,) = (data / "steps").iterdir()
    return folder


def parent_of(process: int) -> int:
    """The process that started one."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_its_processes_are_started_there_and_train_as_here(children, tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    step = sg.train("places", run={"processes": 2}, hold=str(gate), log=str(log))
    parents = set()

    def look() -> None:
        wait_until(lambda: len([line for line in read_log(log) if line.startswith("rank")]) == 2, "both processes")
        parents.update(parent_of(int(line.split()[-1])) for line in read_log(log) if line.startswith("rank"))
        gate.touch()

    looking = threading.Thread(target=look)
    looking.start()
    away = run(tmp_path / "away", step).step("train")
    looking.join()
    # Both are children of one process, whose parent is this one.
    assert [parent_of_agent != os.getpid() for parent_of_agent in parents] == [True]
    local = run(tmp_path / "local", step, executor="local").step("train")
    assert (away.status, away.counts, away.checkpoint.sha256) == ("done", local.counts, local.checkpoint.sha256)
    folders = [folder_of(tmp_path / name) for name in ("away", "local")]
    assert folders[0].name == folders[1].name
    kept = ("checkpoint.json", "metrics.jsonl", "log.txt", "log-1.txt")
    assert [sorted(path.name for path in folder.iterdir()) for folder in folders] == [
        sorted(("out", *(f"{name}{end}" for name in kept for end in ("", ".seal"))))
    ] * 2
    places = [
        [json.loads(path.read_text())["worker"] for path in sorted((folder / "out").glob("place-*"))]
        for folder in folders
    ]
    assert places == [[[0, 2], [1, 2]]] * 2


def test_its_error_is_the_one_it_is_here(children, tmp_path):
    with pytest.raises(StepError, match=r"step 'train': rank 1 of places failed to train: ValueError: the loss is nan"):
        run(tmp_path / "data", sg.train("places", run={"processes": 2}, end="raise", rank=1))
    assert load_checkpoint(folder_of(tmp_path / "data")) is None


@pytest.mark.slow
def test_where_its_machine_is_lost_nothing_lives_and_another_goes_on(children, needs_extra, tmp_path):
    needs_extra("robin")
    log = tmp_path / "log"
    step = sg.train("counting", run={"processes": 2}, hold=str(tmp_path / "gate"), log=str(log))
    lost = []

    def lines(number: int) -> list[str]:
        return [line for line in read_log(log) if line.startswith(f"step {number} ")]

    def kill() -> None:
        wait_until(lambda: len(lines(1)) == 2, "step 1 of both processes")
        ranks = [int(line.split()[-1]) for line in lines(1)]
        os.kill(parent_of(ranks[0]), signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, ranks)), "the end of both processes")
        lost.extend(ranks)
        for number in (1, 2, 3):
            (tmp_path / f"gate-{number}").touch()

    killing = threading.Thread(target=kill)
    killing.start()
    report = run(tmp_path / "away", step)
    killing.join()
    assert (len(lost), report.step("train").status) == (2, "done")
    # What was saved was not done again: step 0 was begun once by each, step 1 twice.
    assert [len(lines(number)) for number in range(6)] == [2, 4, 2, 2, 2, 2]
    local = run(tmp_path / "local", step, executor="local")
    assert report.step("train").checkpoint.sha256 == local.step("train").checkpoint.sha256


def test_ctrl_c_asks_it_to_save_there(children, tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    step = sg.train("places", hold=str(gate), log=str(log))

    def press() -> None:
        wait_until(lambda: any(line.startswith("ready") for line in read_log(log)), "the training")
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    report = run(tmp_path / "data", step)
    pressing.join()
    assert (report.exit_code, report.step("train").status) == (130, "unfinished")
    (process,) = [int(line.split()[-1]) for line in read_log(log) if line.startswith("rank")]
    assert not is_running(process)
    gate.touch()
    assert run(tmp_path / "data", step).step("train").status == "done"


class NotTraining(ChildExecutor):
    trains = False


class Telling(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_the_driver_trains_for_an_executor_that_does_not(children, tmp_path):
    executor, log, progress = NotTraining(), tmp_path / "log", Telling()
    steps = (sg.segment("toy"), sg.train("places", log=str(log)))
    report = run(tmp_path / "data", *steps, executor=executor, progress=progress)
    assert report.status == "done"
    assert [work.method for work in executor.opened] == ["segment"]
    assert [note for note in progress.notes if "works in" in note or "trains" in note] == [
        "step 'train' trains on this machine: executor NotTraining opens no trainings"
    ]


class Watching(LocalExecutor):
    """The driver's own, that notes what it opened."""

    trains = True

    def __init__(self) -> None:
        self.opened: list[tuple[str, str]] = []

    async def open(self, work, /):
        self.opened.append((work.method, work.answers))
        return await super().open(work)


def test_everything_that_may_leave_passes_the_one_door(toys, tmp_path):
    executor = Watching()
    steps = (sg.segment("toy"), sg.train("toy"), sg.generate("toy"), sg.evaluate("toy-sgdet"))
    assert run(tmp_path / "data", *steps, executor=executor).status == "done"
    # What is left is the evaluator, which reads what these two answer while it works.
    assert executor.opened == [
        ("segment", "edit"),
        ("train", "checkpoint"),
        ("generate", "edit"),
        ("rank", "ranking"),
        ("segment", "edit"),
    ]


def test_a_lesson_and_the_work_of_a_training_are_the_same_there(toys, tmp_path):
    lesson = Lesson(step="tråin", snapshot=tmp_path, selection=Selection(None, ("train", "val")), folder=tmp_path / "f")
    assert unpack_lesson(pack_lesson(lesson)) == lesson
    student, faults = find_spec(toys, "student", "places", {"end": "leave"})
    assert not faults
    settings = {"toy/one": ModelSettings(input_usd=1.5)}
    access = ModelAccess(settings, tmp_path / "responses.sqlite", GatewaySettings(budget_usd=3.0))
    training = Training(run=RunSettings(processes=3, grace_s=2.5, timeout_s=None), student=student, access=access)
    work = Work(spec=student, method="train", resources=Resources(), answers="checkpoint", training=training)
    message = pack_work(work)
    assert access_in(message) == access
    found = unpack_work(message, toys, lambda fields: pytest.fail("it asks no model"))
    assert (found.training.run, found.training.access) == (training.run, access)
    assert found.training.student is not None
    assert (found.training.student.name, found.training.student.options) == ("places", student.options)
