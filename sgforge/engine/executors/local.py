"""The executor of the driver: components on threads of this process, async ones on its event loop.

A sync component runs on worker threads, each with its own instance and thus its own device state; an async one runs on
the engine's event loop, one sample a call, many in flight. An evaluator or selector has one thread, a training its
own processes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

from sgforge.engine.executors.answering import Outcome, answer_batch, failure_of, goes_back, recorder
from sgforge.engine.executors.crew import Asked, Crew, Lane
from sgforge.engine.executors.lifecycle import Entered, build, is_leaving
from sgforge.engine.executors.training.crew import TrainingCrew
from sgforge.engine.executors.work import Work
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Resources

__all__ = ["DEFAULT_IN_FLIGHT", "LocalExecutor", "Worker"]

T = TypeVar("T")
P = ParamSpec("P")
DEFAULT_IN_FLIGHT: Final = 128
"""Calls in flight of an async component; its model's own limit is usually lower."""


class LocalExecutor:
    """Opens crews in this process."""

    async def open(self, work: Work, /) -> Crew:
        """Workers for one component, built and set up; what fails there is a `StepError`."""
        if work.answers == "checkpoint":
            return TrainingCrew(work)
        if work.reads_on:
            return await _ReaderCrew.open(work)
        if work.is_async:
            return await _AsyncCrew.open(work)
        # One object on two threads would be two users of one device state: an instance has one worker.
        count, spec = work.workers or 1, work.spec
        if spec.holds_instance and count > 1:
            single = next(one.name for _, one in spec.walk() if one.instance is not None)
            raise StepError(f"{single} is a single instance: it cannot have {count} workers; name a component instead")
        return await _ThreadCrew.open(work, count)


class _AsyncCrew:
    def __init__(self, entered: Entered, work: Work) -> None:
        self._entered = entered
        self._call = getattr(entered.instance, work.method)
        self._check = work.check
        # Looked up once, and not for every image.
        self._recorded = recorder(work.resources)
        self._is_stopped = False
        self.lanes = (Lane(self._answer, 1, work.workers or _in_flight(work.resources)),)

    @classmethod
    async def open(cls, work: Work) -> _AsyncCrew:
        # Loading weights may take minutes, in which the event loop serves the other steps.
        resources = work.of_worker(0, 1).resources
        return cls(await asyncio.to_thread(build, work.spec, resources, is_async=True), work)

    async def _answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        if self._is_stopped:
            return []
        task = asyncio.current_task()
        try:
            # Each image is a task of its own here, so the calls that are recorded are this image's and no other's.
            with self._recorded() as calls:
                answer = await self._call(samples[0])
            return [Outcome(self._check(answer), tuple(calls))]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A component may cancel tasks of its own, and raise what it likes: only our own end is not its fault.
            if is_leaving(error, task):
                raise
            return [] if goes_back(error) else [Outcome(failure_of(error))]

    def stop(self) -> None:
        self._is_stopped = True

    async def close(self) -> None:
        await self._entered.close_async()

    def abandon(self) -> None: ...


class _ThreadCrew:
    def __init__(self, workers: Sequence[_BatchWorker], batch: int) -> None:
        self._workers = workers
        # Two calls per thread: one batch runs while the answers of the last one are journalled.
        self.lanes = tuple(Lane(worker.answer, batch, 2) for worker in workers)

    @classmethod
    async def open(cls, work: Work, count: int) -> _ThreadCrew:
        workers = [_BatchWorker(work.of_worker(number, count), number) for number in range(count)]
        crew = cls(workers, work.batch)
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
    """One thread with one instance of a component: built, used and closed there."""

    def __init__(self, work: Work, number: int = 0) -> None:
        self._work = work
        self._entered: Entered | None = None
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon: a cancelled run must not wait for a batch that nobody wants any more.
        name = f"sgforge-{work.spec.name}-{number}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def instance(self) -> Any:
        """The component, once it is started."""
        return None if self._entered is None else self._entered.instance

    async def start(self) -> None:
        """Build the component and set it up; what fails there is a `StepError`."""
        self._entered = await self.in_thread(build, self._work.spec, self._work.resources)

    async def close(self) -> None:
        """Close the component once its last call is done, and end the thread."""
        try:
            if self._entered is not None:
                await self.in_thread(self._entered.close)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End the thread after the call that runs, without waiting for it."""
        self._calls.put(None)

    async def in_thread(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """What a call gives or raises that is made in the thread, after those before it."""
        loop = asyncio.get_running_loop()
        # Whoever collects the model calls of this task collects those of the thread too.
        context = copy_context()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result, error = context.run(call, *arguments, **named), None
            except BaseException as raised:
                result, error = None, raised
            # The future belongs to the loop's thread, and may have been cancelled there meanwhile.
            with suppress(RuntimeError):  # the loop of a cancelled run may be gone
                loop.call_soon_threadsafe(_settle, answer, result, error)

        self._calls.put(work)
        return await answer

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class _BatchWorker(Worker):
    """A worker that answers batches."""

    def __init__(self, work: Work, number: int) -> None:
        super().__init__(work, number)
        self._is_stopped = False

    async def answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        work = self._work
        return await self.in_thread(
            answer_batch,
            getattr(self.instance, work.method),
            samples,
            work.check,
            work.resources,
            lambda: self._is_stopped,
        )

    def stop(self) -> None:
        # Looked at in the thread right before each call: a batch may have waited there for the one before it, which
        # may take minutes more.
        self._is_stopped = True


class _ReaderCrew:
    """An evaluator or a selector on a thread of its own, asked one thing after the other."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._is_stopped = False
        self.lanes = (Lane(self._answer, 1, 1),)

    @classmethod
    async def open(cls, work: Work) -> _ReaderCrew:
        worker = Worker(work)
        try:
            await worker.start()
        except BaseException:
            worker.abandon()
            raise
        return cls(worker)

    async def _answer(self, asked: Sequence[Asked]) -> list[Outcome]:
        (call,) = asked
        return [] if self._is_stopped else [Outcome(await self._worker.in_thread(call, self._worker.instance))]

    def stop(self) -> None:
        self._is_stopped = True

    async def close(self) -> None:
        await self._worker.close()

    def abandon(self) -> None:
        self._worker.abandon()


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
    """Items at one time: with models, enough that their gateway always finds the next call ready."""
    return max((DEFAULT_IN_FLIGHT, *(2 * model.max_in_flight for model in resources.models)))
