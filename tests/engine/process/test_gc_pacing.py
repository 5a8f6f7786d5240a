"""The collector of cycles during a run: left as it was found, and never idle."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from engine_toys import ToyTeacher
from support.waiting import wait_until

import sgforge as sg
from sgforge.engine.process.gc_pacing import seldom_collecting


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    before, enabled = gc.get_threshold(), gc.isenabled()
    yield
    gc.set_threshold(*before)
    (gc.enable if enabled else gc.disable)()


class Cycle:
    """Holds on to itself."""

    def __init__(self) -> None:
        self.me = self


def test_a_run_leaves_the_collector_as_it_was(toys, tmp_path):
    seen = []

    class Looking(ToyTeacher):
        def complete(self, samples):
            seen.append(gc.get_threshold())
            return [sg.Edit() for _ in samples]

    gc.set_threshold(701, 11, 12)
    sg.Pipeline(sg.complete(Looking())).run(sg.source("toy", count=3), tmp_path / "data", progress=False)
    assert seen
    assert set(seen) == {(50_000, 11, 12)}
    assert gc.get_threshold() == (701, 11, 12)


def test_runs_that_overlap_leave_the_collector_as_the_first_found_it():
    async def main() -> None:
        gc.set_threshold(701, 11, 12)
        first, second = seldom_collecting(), seldom_collecting()
        await first.__aenter__()
        await second.__aenter__()
        await first.__aexit__(None, None, None)
        assert gc.get_threshold() == (50_000, 11, 12)
        await second.__aexit__(None, None, None)
        assert gc.get_threshold() == (701, 11, 12)

    asyncio.run(main())


@pytest.mark.parametrize("thresholds", [(700, 10, 10), (0, 10, 10)])
def test_a_collector_that_is_off_stays_off(thresholds):
    gc.set_threshold(*thresholds)
    if thresholds[0]:
        gc.disable()

    async def main() -> None:
        async with seldom_collecting():
            assert gc.get_threshold() == thresholds
            assert gc.isenabled() == (thresholds[0] == 0)

    asyncio.run(main())


def test_what_a_cycle_holds_is_let_go_although_few_objects_are_made():
    async def main() -> None:
        async with seldom_collecting():
            gone = weakref.ref(Cycle())
            assert gone() is not None
            await asyncio.to_thread(wait_until, lambda: gone() is None, "the end of a cycle")

    asyncio.run(main())
