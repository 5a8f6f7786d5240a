"""Executors map (component, batch) to answers; the local one runs components in this process.

A sync component runs on worker threads, each with its own instance and thus its own device state; an async one runs on
the engine's event loop, one sample a call, many in flight. Journal, keys and models stay with the engine, so another
executor needs only `Crew`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, Protocol

import attrs

from sgforge.engine.items.instances import (
    Stopped,
    answer_batch,
    build,
    check_answer,
    close,
    close_async,
    current_task,
    failure_of,
    goes_back,
    is_leaving,
)
from sgforge.engine.planning.components import ComponentSpec, is_async
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Resources

__all__ = ["DEFAULT_BATCH", "DEFAULT_IN_FLIGHT", "Crew", "Lane", "Outcome", "Worker", "ask", "intake", "open_crew"]

Check = Callable[[Any], Any]

DEFAULT_BATCH: Final = 32
"""Samples per batch of a sync component that asks for no other number."""
DEFAULT_IN_FLIGHT: Final = 128
"""Calls in flight of an async component; its model's own limit is usually lower."""


@attrs.frozen
class Outcome:
    """What came of one sample, and the ids of the model calls behind it.

    `answer`: an Edit or a Failure; of a crew that ranks, a Ranking or a Failure.
    """

    answer: Any
    calls: tuple[str, ...] = ()


@attrs.frozen
class Lane:
    """One way through a crew: at most `batch` samples a call, `depth` calls at one time.

    After `Crew.stop` there may be fewer outcomes than samples: those of the first ones, that were asked before it.
    """

    answer: Callable[[Sequence[Sample]], Awaitable[list[Outcome]]]
    batch: int
    depth: int


class Crew(Protocol):
    """The workers of one step."""

    @property
    def lanes(self) -> Sequence[Lane]: ...

    def stop(self) -> None:
        """Begin no further call or batch; what runs is finished."""

    async def close(self) -> None:
        """Close the components once their last batch is done."""

    def abandon(self) -> None:
        """Let go of the components without waiting for what they are doing."""


async def open_crew(
    spec: ComponentSpec,
    method: str,
    resources: Resources,
    batch_size: int | None,
    workers: int | None,
    check: Check = check_answer,
) -> Crew:
    """Workers for one item step, their components built and set up; what fails there is a `StepError`.

    `check` gives a component's answer, or a `Failure` for one that breaks the contract of its method.
    """
    job = _Job(spec, method, resources, check)
    if is_async(spec.target(), method):
        return await _AsyncCrew.open(job, workers or _in_flight(resources))
    # One object on two threads would be two users of one device state: an instance has one worker.
    count = workers or 1
    if spec.instance is not None and count > 1:
        raise StepError(f"{spec.name} is a single instance: it cannot have {count} workers; name a component instead")
    return await _ThreadCrew.open(job, batch_size or DEFAULT_BATCH, count)


@attrs.frozen
class _Job:
    """What the workers of a crew do."""

    spec: ComponentSpec
    method: str
    resources: Resources
    check: Check


def intake(crew: Crew) -> int:
    """Samples that all lanes of a crew can hold at once."""
    return sum(lane.batch * lane.depth for lane in crew.lanes)


async def ask(crew: Crew, samples: Sequence[Sample]) -> list[Any]:
    """A crew's answers for these samples, all its lanes at work; `Stopped` if a stop came before all were asked."""
    batch = crew.lanes[0].batch
    starts = deque(range(0, len(samples), batch))
    outcomes: dict[int, list[Outcome]] = {}

    async def pump(lane: Lane) -> None:
        while starts:
            start = starts.popleft()
            chunk = samples[start : start + batch]
            try:
                outcomes[start] = await lane.answer(chunk)
                if len(outcomes[start]) < len(chunk):
                    raise Stopped
            except BaseException:
                starts.clear()
                raise

    pumps = [pump(lane) for lane in crew.lanes for _ in range(min(lane.depth, len(starts)))]
    # Calls that are under way when one of them ends it all are waited for: their answers may be paid, and are cached.
    for error in await asyncio.gather(*pumps, return_exceptions=True):
        if error is not None:
            raise error
    return [outcome.answer for start in sorted(outcomes) for outcome in outcomes[start]]


class _AsyncCrew:
    def __init__(self, instance: Any, job: _Job, in_flight: int) -> None:
        self._instance = instance
        call = getattr(instance, job.method)
        self._call = call if job.resources.model is None else _fully_asking(call)
        self._check = job.check
        self._is_stopped = False
        answer = self._answer if job.resources.model is None else self._answer_with_calls
        self.lanes = (Lane(answer, 1, in_flight),)

    @classmethod
    async def open(cls, job: _Job, in_flight: int) -> _AsyncCrew:
        # Loading weights may take minutes, in which the event loop serves the other steps.
        return cls(await asyncio.to_thread(build, job.spec, job.resources), job, in_flight)

    async def _answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        if self._is_stopped:
            return []
        task = current_task()
        try:
            return [Outcome(self._check(await self._call(samples[0])))]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A component may cancel tasks of its own, and raise what it likes: only our own end is not its fault.
            if is_leaving(error, task):
                raise
            return [] if goes_back(error) else [Outcome(failure_of(error))]

    async def _answer_with_calls(self, samples: Sequence[Sample]) -> list[Outcome]:
        from sgforge.models import collect_calls

        # Each image is a task of its own here, so the calls that are collected are this image's and no other's.
        with collect_calls() as calls:
            outcomes = await self._answer(samples)
        return [attrs.evolve(outcome, calls=tuple(calls)) for outcome in outcomes]

    def stop(self) -> None:
        self._is_stopped = True

    async def close(self) -> None:
        await close_async(self._instance)

    def abandon(self) -> None: ...


class _ThreadCrew:
    def __init__(self, workers: Sequence[_BatchWorker], batch: int) -> None:
        self._workers = workers
        # Two calls per thread: one batch runs while the answers of the last one are journalled.
        self.lanes = tuple(Lane(worker.answer, batch, 2) for worker in workers)

    @classmethod
    async def open(cls, job: _Job, batch: int, count: int) -> _ThreadCrew:
        workers = [_BatchWorker(job, number) for number in range(count)]
        crew = cls(workers, batch)
        try:
            # All are waited for, so that one that is still being set up when another fails is closed too.
            started = await asyncio.gather(*(worker.start() for worker in workers), return_exceptions=True)
        except asyncio.CancelledError:
            crew.abandon()
            raise
        # One that failed ends the step; those that were set up have weights to give back first.
        for error in started:
            if error is not None:
                await crew.close()
                raise error
        return crew

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    async def close(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self._workers))

    def abandon(self) -> None:
        for worker in self._workers:
            worker.abandon()


class Worker:
    """One thread with one instance of a sync component: built, used and closed there."""

    def __init__(self, spec: ComponentSpec, resources: Resources, number: int = 0) -> None:
        self._spec = spec
        self._resources = resources
        self.instance: Any = None
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon: a cancelled run must not wait for a batch that nobody wants any more.
        name = f"sgforge-{spec.name}-{number}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def start(self) -> None:
        """Build the component and set it up; what fails there is a `StepError`."""
        self.instance = await self.in_thread(build, self._spec, self._resources)

    async def close(self) -> None:
        """Close the component once its last call is done, and end the thread."""
        try:
            if self.instance is not None:
                await self.in_thread(close, self.instance)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End the thread after the call that runs, without waiting for it."""
        self._calls.put(None)

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What a call gives or raises that is made in the thread, after those before it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            try:
                result, error = call(*arguments), None
            except BaseException as raised:
                result, error = None, raised
            # The future belongs to the loop's thread, and may have been cancelled there meanwhile.
            with suppress(RuntimeError):  # the loop of a cancelled run may be gone
                loop.call_soon_threadsafe(_settle, answer, result, error)

        self._calls.put(work)
        return await answer

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class _BatchWorker(Worker):
    """A worker that answers batches."""

    def __init__(self, job: _Job, number: int) -> None:
        super().__init__(job.spec, job.resources, number)
        self._job = job
        self._is_stopped = False

    async def answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        call = getattr(self.instance, self._job.method)
        if self._job.resources.model is not None:
            call = _fully_asking_batch(call)
        answers = await self.in_thread(answer_batch, call, samples, self._job.check, lambda: self._is_stopped)
        return [Outcome(answer) for answer in answers]

    def stop(self) -> None:
        # Looked at in the thread right before each call: a batch may have waited there for the one before it, which
        # may take minutes more.
        self._is_stopped = True


def _fully_asking(call: Callable[[Sample], Awaitable[Any]]) -> Callable[[Sample], Awaitable[Any]]:
    from sgforge.models.money.call_trace import asked_in_full

    async def asking(sample: Sample) -> Any:
        with asked_in_full():
            return await call(sample)

    return asking


def _fully_asking_batch(call: Callable[[Sequence[Sample]], Any]) -> Callable[[Sequence[Sample]], Any]:
    from sgforge.models.money.call_trace import asked_in_full

    def asking(samples: Sequence[Sample]) -> Any:
        with asked_in_full():
            given = call(samples)
            # A generator asks while it is read, so it is read in here.
            return list(given) if isinstance(given, Iterator) else given

    return asking


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if isinstance(error, StopIteration):  # no future takes one
        error = RuntimeError("StopIteration")
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)


def _in_flight(resources: Resources) -> int:
    """Items at one time: with a model, enough that its gateway always finds the next call ready."""
    return DEFAULT_IN_FLIGHT if resources.model is None else max(DEFAULT_IN_FLIGHT, 2 * resources.model.max_in_flight)
