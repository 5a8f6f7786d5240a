"""Executors map (component, batch) to answers; the local one runs components in this process.

A sync component runs on worker threads, each with its own instance and thus its own device state; an async one runs on
the engine's event loop, one sample a call, many in flight. Journal, keys and models stay with the engine, so another
executor needs only `Crew`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, Protocol

import attrs

from sgforge.engine.components import ComponentSpec, is_async
from sgforge.engine.instances import answer_batch, build, check_answer, close, close_async, failure_of
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Answer, Resources

__all__ = ["DEFAULT_BATCH", "DEFAULT_IN_FLIGHT", "Crew", "Lane", "Outcome", "open_crew"]

DEFAULT_BATCH: Final = 32
"""Samples per batch of a sync component that asks for no other number."""
DEFAULT_IN_FLIGHT: Final = 128
"""Calls in flight of an async component; its model's own limit is usually lower."""


@attrs.frozen
class Outcome:
    """What came of one sample, and the ids of the model calls behind it."""

    answer: Answer
    calls: tuple[str, ...] = ()


@attrs.frozen
class Lane:
    """One way through a crew: at most `batch` samples a call, `depth` calls at one time."""

    answer: Callable[[Sequence[Sample]], Awaitable[list[Outcome]]]
    batch: int
    depth: int


class Crew(Protocol):
    """The workers of one step."""

    @property
    def lanes(self) -> Sequence[Lane]: ...

    async def close(self) -> None:
        """Close the components once their last batch is done."""

    def abandon(self) -> None:
        """Let go of the components without waiting for what they are doing."""


async def open_crew(
    spec: ComponentSpec, method: str, resources: Resources, batch_size: int | None, workers: int | None
) -> Crew:
    """Workers for one item step, their components built and set up; what fails there is a `StepError`."""
    if is_async(spec.target(), method):
        return await _AsyncCrew.open(spec, method, resources, workers or _in_flight(resources))
    count = workers or 1
    if spec.instance is not None and count > 1:
        raise StepError(f"{spec.name} is a single instance: it cannot have {count} workers; name a component instead")
    return await _ThreadCrew.open(spec, method, resources, batch_size or DEFAULT_BATCH, count)


class _AsyncCrew:
    def __init__(self, instance: Any, method: str, in_flight: int, has_model: bool) -> None:
        self._instance = instance
        self._call = getattr(instance, method)
        answer = self._answer_with_calls if has_model else self._answer
        self.lanes = (Lane(answer, 1, in_flight),)

    @classmethod
    async def open(cls, spec: ComponentSpec, method: str, resources: Resources, in_flight: int) -> _AsyncCrew:
        instance = await asyncio.to_thread(build, spec, resources)
        return cls(instance, method, in_flight, resources.model is not None)

    async def _answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        try:
            return [Outcome(check_answer(await self._call(samples[0])))]
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            return [Outcome(failure_of(error))]

    async def _answer_with_calls(self, samples: Sequence[Sample]) -> list[Outcome]:
        from sgforge.models import collect_calls

        with collect_calls() as calls:
            outcome = (await self._answer(samples))[0]
        return [attrs.evolve(outcome, calls=tuple(calls))]

    async def close(self) -> None:
        await close_async(self._instance)

    def abandon(self) -> None: ...


class _ThreadCrew:
    def __init__(self, workers: Sequence[_Worker], batch: int) -> None:
        self._workers = workers
        # Two calls per thread: one batch runs while the answers of the last one are journalled.
        self.lanes = tuple(Lane(worker.answer, batch, 2) for worker in workers)

    @classmethod
    async def open(cls, spec: ComponentSpec, method: str, resources: Resources, batch: int, count: int) -> _ThreadCrew:
        workers = [_Worker(spec, method, resources, number) for number in range(count)]
        crew = cls(workers, batch)
        try:
            # All are waited for, so that one that is still being set up when another fails is closed too.
            started = await asyncio.gather(*(worker.start() for worker in workers), return_exceptions=True)
        except asyncio.CancelledError:
            crew.abandon()
            raise
        for error in started:
            if error is not None:
                await crew.close()
                raise error
        return crew

    async def close(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self._workers))

    def abandon(self) -> None:
        for worker in self._workers:
            worker.abandon()


class _Worker:
    """One thread with one instance of a sync component: built, used and closed there."""

    def __init__(self, spec: ComponentSpec, method: str, resources: Resources, number: int) -> None:
        self._spec = spec
        self._method = method
        self._resources = resources
        self._instance: Any = None
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon: a cancelled run must not wait for a batch that nobody wants any more.
        name = f"sgforge-{spec.name}-{number}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def start(self) -> None:
        self._instance = await self._in_thread(build, self._spec, self._resources)

    async def answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        call = getattr(self._instance, self._method)
        answers = await self._in_thread(answer_batch, call, samples, check_answer)
        return [Outcome(answer) for answer in answers]

    async def close(self) -> None:
        try:
            if self._instance is not None:
                await self._in_thread(close, self._instance)
        finally:
            self.abandon()

    def abandon(self) -> None:
        self._calls.put(None)

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            try:
                result, error = call(*arguments), None
            except BaseException as raised:
                result, error = None, raised
            with suppress(RuntimeError):  # the loop of a cancelled run may be gone
                loop.call_soon_threadsafe(_settle, answer, result, error)

        self._calls.put(work)
        return await answer

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)


def _in_flight(resources: Resources) -> int:
    """Items at one time: with a model, enough that its gateway always finds the next call ready."""
    return DEFAULT_IN_FLIGHT if resources.model is None else max(DEFAULT_IN_FLIGHT, 2 * resources.model.max_in_flight)
