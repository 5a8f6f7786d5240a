"""A component that asks a model outside the event loop: in its training, in a process of its own, while it ranks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import engine_asking
import engine_toys
import pytest
from engine_asking import AskingStudent

import sgforge as sg
from sgforge.dataset.states.known_states import connect_to_read
from sgforge.errors import StepError
from sgforge.models import GatewaySettings
from sgforge.stages import Checkpoint, Needs
from sgforge.testing import IsolatedPlugins
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings

PRICE = {"input_usd": 0.0, "output_usd": 1_000_000.0}
"""A token of output costs one dollar, so a question that may have four costs at most four."""


@pytest.fixture
def plugins(tmp_path, monkeypatch) -> Iterator[None]:
    """The student that asks, in this process and in children."""
    import sgforge_openai

    with IsolatedPlugins(engine_toys.this_plugin(), engine_asking, sgforge_openai):
        for name, value in engine_toys.toy_environment(tmp_path / "site").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SGFORGE_PLUGINS", "toys,asking,openai")
        engine_asking.install(tmp_path / "site")
        yield


@pytest.fixture
def server() -> Iterator[FakeProvider]:
    with FakeProvider(_answer) as found:
        yield found


def _answer(request: FakeRequest) -> FakeAnswer:
    return FakeAnswer(f"to {request.text}", usage=(1, 0, 2))


def run(data, server, *steps, budget: float | None = None, **settings):
    given = {"base_url": server.openai_url, **PRICE, **settings}
    made = sg.Pipeline(*steps, models={"compat/any": given}, gateway=GatewaySettings(budget_usd=budget))
    return made.run(sg.source("toy", count=20), data, progress=False)


def answers(checkpoint: Checkpoint) -> list[str]:
    return (checkpoint.path / "answers.txt").read_text().splitlines()


EXPECTED = ["compat/any", *(f"to question {n}" for n in range(3)), *(f"to more {n}" for n in range(3))]


def test_a_training_in_a_process_of_its_own_asks_its_model(plugins, server, tmp_path):
    report = run(tmp_path / "data", server, sg.train("asking"))
    process, *found = answers(report.step("train").checkpoint)
    assert int(process) != os.getpid()
    assert found == EXPECTED
    assert server.ledger.answered == 6
    with closing(connect_to_read(tmp_path / "data" / "responses.sqlite")) as base:
        assert base.execute("SELECT COUNT(*) FROM response").fetchone() == (6,)
    assert run(tmp_path / "data", server, sg.train("asking")).step("train").counts.reused == 16
    # What was bought is not bought again for a training that is another one.
    assert run(tmp_path / "data", server, sg.train("asking", questions=4)).step("train").counts.computed == 16
    assert server.ledger.answered == 8


def test_an_instance_asks_from_its_thread(plugins, server, tmp_path):
    student = AskingStudent()
    student.needs = Needs(model=True)
    process, *found = answers(run(tmp_path / "data", server, sg.train(student)).step("train").checkpoint)
    assert int(process) == os.getpid()
    assert found == EXPECTED


def test_a_student_asks_while_it_is_evaluated(plugins, server, tmp_path):
    report = run(tmp_path / "data", server, sg.train("asking"), sg.evaluate("toy"))
    assert report.step("evaluate").report.values["failures"] == 0.0
    assert server.ledger.answered == 6 + report.step("evaluate").report.images_used


def test_the_budget_holds_over_the_run_and_its_training(plugins, server, tmp_path):
    # A call is billed 2 of its at most 4 tokens: two calls fit into 7 dollars, the third could cost 8 in all.
    with pytest.raises(StepError, match="step 'train': budget: ") as caught:
        run(tmp_path / "data", server, sg.train("asking"), budget=7.0)
    assert caught.value.exit_code == 3
    assert server.ledger.answered == 2
    # The same file: what was bought counts, and is there.
    run(tmp_path / "data", server, sg.train("asking"), budget=50.0)
    assert server.ledger.answered == 6


def test_a_server_that_refuses_is_told_as_the_training_s_failure(plugins, tmp_path):
    with (
        FakeProvider(settings=FakeSettings(keys=frozenset({"right"}))) as server,
        pytest.raises(StepError, match=r"step 'train': .*401"),
    ):
        run(tmp_path / "data", server, sg.train("asking"))


def test_a_training_cannot_wait_for_a_batch(plugins, server, tmp_path):
    import attrs

    from sgforge.engine.launch import run as run_request
    from sgforge.models.estimate import DryRun

    made = sg.Pipeline(sg.train("asking"), models={"compat/any": {"base_url": server.openai_url}})
    request = attrs.evolve(made.request(sg.source("toy", count=20), tmp_path / "data"), watcher=DryRun())
    with pytest.raises(StepError, match="cannot wait for a batch: sgforge run"):
        run_request(request, False)
    assert server.ledger.answered == 0
