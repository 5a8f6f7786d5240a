"""Parts under an executor whose components work in other processes: the same answers, one budget, one gateway."""

from __future__ import annotations

import engine_children
import engine_parts
import engine_toys
import pytest
from engine_children import ChildExecutor
from engine_toys import arrays

import sgforge as sg
from sgforge.testing import IsolatedPlugins
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider


@pytest.fixture
def everywhere(tmp_path, monkeypatch):
    import sgforge_openai

    plugins = (engine_toys.this_plugin(), engine_parts.this_plugin(), engine_children, sgforge_openai)
    with IsolatedPlugins(*plugins) as registry:
        for name, value in engine_toys.toy_environment(tmp_path / "site").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SGFORGE_PLUGINS", "toys,parts,children")
        engine_parts.install(tmp_path / "site")
        engine_children.install(tmp_path / "site")
        yield registry


def test_a_holder_that_works_elsewhere_has_its_parts_and_their_models_there(everywhere, tmp_path):
    with FakeProvider(lambda request: FakeAnswer("guilty")) as server:
        models = {f"compat/{name}": {"base_url": server.openai_url} for name in "ab"}
        critics = [sg.use("critic-asking", model="compat/a"), sg.use("critic-async", weight=0.2), "critic"]
        inner = sg.use("panel-async", critics=[sg.use("critic-asking", model="compat/b")])
        made = sg.Pipeline(
            sg.complete("toy"), sg.filter("panel", critics=[*critics, inner], batch_size=3), models=models
        )
        source = sg.source("toy", count=8)
        made.run(source, tmp_path / "local", progress=False)
        paid = server.ledger.answered
        executor = ChildExecutor()
        report = made.run(source, tmp_path / "away", executor=executor, progress=False)
        assert [work.method for work in executor.opened] == ["complete", "filter"]
        assert (report.step("filter").counts.computed, server.ledger.answered) == (8, 2 * paid)
    assert arrays(tmp_path / "away") == arrays(tmp_path / "local")
    calls = sg.Dataset.open(tmp_path / "away").snapshot.provenance.of_image(3)
    assert {call.step for call in calls} == {"filter"}


def test_a_holder_with_an_instance_stays(everywhere, tmp_path):
    executor = ChildExecutor()
    made = sg.Pipeline(sg.filter("panel", critics=[engine_parts.Critic()]))
    made.run(sg.source("toy", count=4), tmp_path / "data", executor=executor, progress=False)
    assert executor.opened == []
