"""The contract of executors: the toy keeps it, and what breaks a promise does not."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import engine_children
import engine_toys
import pytest

import sgforge
from sgforge.engine.executors.crew import Lane
from sgforge.engine.executors.local import LocalExecutor
from sgforge.testing import ExecutorContract, IsolatedPlugins


@pytest.fixture
def plugins(tmp_path_factory, monkeypatch):
    import sgforge_baseline
    import sgforge_eval

    site = tmp_path_factory.mktemp("site")
    for name, value in engine_toys.toy_environment(site).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SGFORGE_PLUGINS", "toys,children,baseline,eval")
    engine_children.install(site)
    with IsolatedPlugins(engine_children, sgforge_baseline, sgforge_eval, Broken()):
        yield


@pytest.mark.usefixtures("plugins")
class TestChildren(ExecutorContract):
    component = "children"


@pytest.mark.usefixtures("plugins")
class TestChildrenWithoutFolders(ExecutorContract):
    component = "children"
    options = {"shares_roots": False}


class Reversing(LocalExecutor):
    """Takes the samples of a batch, of which it has two, from the other end."""

    async def open(self, work, /):
        crew = await super().open(attrs.evolve(work, batch_size=2))
        return Changed(crew, [Lane(self.reversed(lane.answer), lane.batch, lane.depth) for lane in crew.lanes])

    def reversed(self, answer):
        async def answering(samples: Sequence[sgforge.Sample]):
            return (await answer(samples))[::-1]

        return answering


class Deaf(LocalExecutor):
    """Hears of no stop."""

    async def open(self, work, /):
        crew = await super().open(work)
        return Changed(crew, crew.lanes, hears=False)


class Changed:
    def __init__(self, crew, lanes, hears=True) -> None:
        self.crew, self.lanes, self.hears = crew, lanes, hears

    def stop(self) -> None:
        if self.hears:
            self.crew.stop()

    async def close(self) -> None:
        await self.crew.close()

    def abandon(self) -> None:
        self.crew.abandon()


class Broken:
    @sgforge.hookimpl
    def sgforge_register_executors(self, register):
        register("reversing", Reversing)
        register("deaf", Deaf)


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("executor", "test"),
    [
        ("reversing", "test_snapshots_and_reports_are_those_of_the_driver"),
        ("reversing", "test_answers_come_in_the_order_of_the_samples"),
        ("deaf", "test_nothing_is_asked_after_a_stop"),
    ],
)
def test_a_broken_promise_is_caught(executor, test, tmp_path):
    contract = type("Contract", (ExecutorContract,), {"component": executor})()
    with pytest.raises(AssertionError):
        getattr(contract, test)(tmp_path)
