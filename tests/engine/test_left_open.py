"""Whatever fails, what was opened before it is closed."""

from __future__ import annotations

import threading

import pytest
from engine_toys import ToyEvaluator, ToyStudent, ToyTeacher
from support.opened import open_below, started_threads, threads_named
from support.waiting import LONGEST, wait_until

import sgforge as sg
from sgforge.engine.models.child_models import ModelAccess, opened_models
from sgforge.errors import SgforgeError, StepError
from sgforge.models import GatewaySettings, ModelSettings


def run(folder, *steps):
    return sg.Pipeline(*steps).run(sg.source("toy", count=20), folder, progress=False)


def test_a_worker_that_was_set_up_beside_one_that_failed_is_closed(toys, tmp_path):
    failed, closed = threading.Event(), []

    class Unequal(ToyTeacher):
        """The first of them fails; the second is set up afterwards."""

        def setup(self, resources):
            if threading.current_thread().name.endswith("-0"):
                failed.set()
                raise RuntimeError("out of memory")
            assert failed.wait(LONGEST)

        def close(self):
            closed.append(threading.current_thread().name)

    component = toys.lookup("teacher", "toy")
    object.__setattr__(component, "target", Unequal)
    with pytest.raises(StepError, match="out of memory"):
        run(tmp_path / "data", sg.complete("toy", workers=2))
    assert closed == ["sgforge-toy-1"]
    wait_until(lambda: not threads_named("sgforge-toy"), "the end of both workers")
    assert not {"lock", "journal.sqlite"} & set(open_below(tmp_path))


def test_steps_that_cannot_be_closed_do_not_keep_others_open_and_lose_nothing(toys, tmp_path, caplog):
    closed = []

    class Closing(ToyTeacher):
        def close(self):
            closed.append(self)
            raise RuntimeError("stuck")

    report = run(tmp_path / "data", sg.complete(Closing()), sg.complete(Closing(), name="again"))
    assert (report.status, len(closed)) == ("done", 2)
    assert sg.Dataset.open(tmp_path / "data").snapshot.id == report.snapshot
    assert caplog.text.count("Closing could not be closed: RuntimeError: stuck (test_left_open.py, line") == 2
    wait_until(lambda: not threads_named("sgforge-Closing"), "the end of both workers")


def test_an_evaluation_that_fails_closes_its_student_first(toys, tmp_path):
    closed = []

    class Student(ToyStudent):
        def close(self):
            closed.append("student")

    class Impatient(ToyEvaluator):
        def evaluate(self, judged):
            next(iter(judged))
            raise ValueError("enough")

        def close(self):
            closed.append("evaluator")

    for kind, made in (("student", Student), ("evaluator", Impatient)):
        object.__setattr__(toys.lookup(kind, "toy"), "target", made)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "counts.json").write_text('{"on": 1}')
    with pytest.raises(StepError, match="enough"):
        run(tmp_path / "data", sg.generate("toy", checkpoint=weights), sg.evaluate("toy"))
    assert closed == ["student", "student", "evaluator"]  # the first was that of generate
    assert not {"lock", "journal.sqlite"} & set(open_below(tmp_path))


def test_a_model_that_cannot_be_lent_leaves_no_gateway(toys, tmp_path):
    started = started_threads()
    access = ModelAccess({"nobody/m": ModelSettings()}, tmp_path / "responses.sqlite", GatewaySettings())
    with pytest.raises(SgforgeError, match="nobody"), opened_models(access, toys):
        pass
    assert started("sgforge-responses") == started("sgforge-models") == []
    assert {path.name for path in tmp_path.iterdir()} == {"responses.sqlite", "responses.sqlite.seal"}


def test_a_training_that_cannot_be_started_leaves_no_orders(toys_everywhere, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(OSError, match="no-python"):
        run(tmp_path / "data", sg.train("toy"))
    (folder,) = (path for path in (tmp_path / "data" / "steps").iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {"out", "log.txt"}
