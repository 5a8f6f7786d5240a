"""Crews alone: whose thread a component lives on, what a batch is, what is in flight, what a stop leaves unasked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.opened import threads_named
from support.waiting import LONGEST, wait_until

from sgforge.edits import Edit
from sgforge.engine.executors.answering import Stopped, StopRunError, answer_batch
from sgforge.engine.executors.crew import ask, intake
from sgforge.engine.executors.local import LocalExecutor, Worker
from sgforge.engine.executors.work import Work
from sgforge.engine.planning.components import ComponentSpec
from sgforge.errors import SgforgeError, StepError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.plugins import Component
from sgforge.stages import Failure, Resources


def samples(names: str) -> list[Sample]:
    return [Sample(name, SceneGraph(9, 9)) for name in names]


def said(answers: Sequence[Edit | Failure]) -> str:
    """The names that came back, "!" for a failure."""
    return "".join("!" if isinstance(one, Failure) else one.regions[0].label for one in answers)


class Echo:
    """Answers with the image's name; remembers threads and batches."""

    def __init__(self) -> None:
        self.threads = [threading.current_thread().name]
        self.batches: list[str] = []

    def setup(self, resources: Resources) -> None:
        self.threads.append(threading.current_thread().name)

    def complete(self, given: Sequence[Sample]) -> list[Edit]:
        self.threads.append(threading.current_thread().name)
        self.batches.append("".join(one.image_id for one in given))
        return [Edit.add(Region(one.image_id)) for one in given]

    def close(self) -> None:
        self.threads.append(threading.current_thread().name)


def work_of(instance: object, batch: int | None = None, workers: int | None = None) -> Work:
    spec = ComponentSpec("teacher", "echo", "", {}, instance=instance)
    return Work(spec=spec, method="complete", resources=Resources(), batch_size=batch, workers=workers)


@attrs.frozen
class Named:
    """As much of a registered component as a crew uses: it builds a new instance for every worker."""

    made: list[Echo] = attrs.field(factory=list)

    def load(self) -> type[Echo]:
        return Echo

    def build(self, options: object) -> Echo:
        self.made.append(Echo())
        return self.made[-1]


def test_each_worker_builds_uses_and_closes_its_own_instance_on_its_own_thread():
    component: Component = Named()  # type: ignore[assignment]

    async def run() -> None:
        spec = ComponentSpec("teacher", "echo", "", {}, component=component)
        work = Work(spec=spec, method="complete", resources=Resources(), batch_size=2, workers=3)
        crew = await LocalExecutor().open(work)
        assert intake(crew) == 3 * 2 * 2
        assert said(await ask(crew, samples("abcdefghijkl"))) == "abcdefghijkl"
        await crew.close()

    asyncio.run(run())
    assert len(component.made) == 3
    assert sorted(one.threads[0] for one in component.made) == [f"sgforge-echo-{number}" for number in range(3)]
    for one in component.made:
        assert len(set(one.threads)) == 1
        assert all(len(batch) <= 2 for batch in one.batches)
    wait_until(lambda: not threads_named("sgforge-echo"), "the end of the workers")


def test_an_instance_has_one_worker():
    with pytest.raises(StepError, match="echo is a single instance: it cannot have 2 workers"):
        asyncio.run(LocalExecutor().open(work_of(Echo(), None, 2)))


def test_a_lane_that_runs_has_the_next_batch_at_hand_but_runs_one_at_a_time():
    entered, let = threading.Semaphore(0), threading.Semaphore(0)
    inside: list[int] = []

    class Slow(Echo):
        def complete(self, given):
            inside.append(1)
            entered.release()
            assert let.acquire(timeout=LONGEST)
            assert len(inside) == 1
            inside.clear()
            return super().complete(given)

    async def run() -> None:
        crew = await LocalExecutor().open(work_of(Slow(), 1, None))
        asking = asyncio.create_task(ask(crew, samples("abc")))
        for _ in range(3):
            await asyncio.to_thread(entered.acquire)
            let.release()
        assert said(await asking) == "abc"
        await crew.close()

    asyncio.run(run())


@given(st.text("abc!", max_size=8), st.integers(0, 12))
def test_answers_before_a_stop_are_those_of_the_first_samples(names, calls):
    """A batch with a bad image is tried whole, then one by one; the stop comes after so many calls."""
    asked: list[str] = []

    def call(given: Sequence[Sample]) -> list[Edit]:
        asked.append("".join(one.image_id for one in given))
        if "!" in asked[-1]:
            raise ValueError("bad")
        return [Edit.add(Region(one.image_id)) for one in given]

    outcomes = answer_batch(call, samples(names), lambda answer: answer, Resources(), lambda: len(asked) >= calls)
    assert len(asked) <= calls
    # Without a bad image one call does it all; with one, the whole batch is asked first, unless it is the image alone.
    alone = "!" in names and len(names) > 1
    done = 0 if not calls else min(len(names), calls - 1) if alone else len(names)
    assert said([outcome.answer for outcome in outcomes]) == names[:done]


def test_a_stop_leaves_the_batch_that_waits_unasked_and_says_so():
    entered, let = threading.Event(), threading.Event()

    class Slow(Echo):
        def complete(self, given):
            entered.set()
            assert let.wait(LONGEST)
            return super().complete(given)

    slow = Slow()

    async def run() -> None:
        crew = await LocalExecutor().open(work_of(slow, 2, None))
        asking = asyncio.create_task(ask(crew, samples("abcdef")))
        await asyncio.to_thread(entered.wait)
        crew.stop()
        let.set()
        with pytest.raises(Stopped):
            await asking
        await crew.close()

    asyncio.run(run())
    assert slow.batches == ["ab"]


class AsyncEcho:
    """One image a call; holds all until `most` are in flight."""

    def __init__(self, most: int, error: BaseException | None = None) -> None:
        self.most, self.error = most, error
        self.in_flight: list[str] = []
        self.asked = ""
        self.full = asyncio.Event()

    async def complete(self, given: Sample) -> Edit:
        self.asked += given.image_id
        self.in_flight.append(given.image_id)
        assert len(self.in_flight) <= self.most
        if len(self.in_flight) == self.most:
            self.full.set()
        await self.full.wait()
        self.in_flight.remove(given.image_id)
        if given.image_id == "!" and self.error is not None:
            raise self.error
        return Edit.add(Region(given.image_id))


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_calls_are_in_flight_as_the_step_has_workers_and_no_more(workers):
    async def run() -> None:
        crew = await LocalExecutor().open(work_of(AsyncEcho(workers), None, workers))
        assert (crew.lanes[0].batch, crew.lanes[0].depth) == (1, workers)
        assert said(await ask(crew, samples("abcdefg"))) == "abcdefg"

    asyncio.run(run())


def test_an_async_component_that_was_stopped_is_asked_nothing():
    echo = AsyncEcho(1)

    async def run() -> None:
        crew = await LocalExecutor().open(work_of(echo, None, 1))
        crew.stop()
        with pytest.raises(Stopped):
            await ask(crew, samples("ab"))

    asyncio.run(run())
    assert echo.asked == ""


class EnoughError(SgforgeError):
    stops_run = True


def test_what_ends_the_run_waits_for_the_calls_that_are_in_flight_and_begins_no_other():
    echo = AsyncEcho(3, EnoughError("no money"))

    async def run() -> None:
        crew = await LocalExecutor().open(work_of(echo, None, 3))
        with pytest.raises(StopRunError, match="no money"):
            await ask(crew, samples("ab!cdefg"))

    asyncio.run(run())
    assert (echo.asked, echo.in_flight) == ("ab!", [])


def test_a_cancelled_call_passes_on_and_one_that_the_component_cancels_is_its_failure():
    class Cancelling:
        async def complete(self, given: Sample) -> Edit:
            if given.image_id == "!":
                raise asyncio.CancelledError
            await asyncio.Event().wait()
            raise AssertionError("never")

    async def run() -> None:
        crew = await LocalExecutor().open(work_of(Cancelling(), None, 1))
        (failed,) = await ask(crew, samples("!"))
        assert (failed.reason, failed.detail.partition(":")[0]) == ("exception", "CancelledError")
        asking = asyncio.create_task(ask(crew, samples("a")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(run())


def test_a_worker_that_is_abandoned_ends_after_its_call():
    entered, let = threading.Event(), threading.Event()

    async def run() -> None:
        worker = Worker(work_of(Echo()))
        await worker.start()

        def hold() -> None:
            entered.set()
            assert let.wait(LONGEST)

        held = asyncio.create_task(worker.in_thread(hold))
        await asyncio.to_thread(entered.wait)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        worker.abandon()

    asyncio.run(run())
    assert threads_named("sgforge-echo")
    let.set()
    wait_until(lambda: not threads_named("sgforge-echo"), "the end of the worker")


@pytest.mark.parametrize("error", [StopIteration("end"), GeneratorExit(), KeyError("k")])
def test_what_a_call_in_a_worker_raises_is_raised_here(error):
    def fail() -> None:
        raise error

    async def run() -> None:
        worker = Worker(work_of(Echo()))
        with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
            await worker.in_thread(fail)
        await worker.close()

    asyncio.run(run())
