"""Executors map (component, batch) to answers; the local one runs components in this process.

A sync component runs on worker threads, each with its own instance and thus its own device state; an async one runs on
the engine's event loop, one sample a call, many in flight. Journal, keys and models stay with the engine, so another
executor needs only `Crew`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import attrs

from sgforge.edits import Edit
from sgforge.engine.components import ComponentSpec, is_async
from sgforge.errors import ImageError, SgforgeError, StepError
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Resources

__all__ = ["DEFAULT_BATCH", "DEFAULT_IN_FLIGHT", "Crew", "Lane", "Outcome", "StopRunError", "open_crew"]

DEFAULT_BATCH: Final = 32
"""Samples per batch of a sync component that asks for no other number."""
DEFAULT_IN_FLIGHT: Final = 128
"""Calls in flight of an async component; its model's own limit is usually lower."""

_log = logging.getLogger("sgforge.engine")


class StopRunError(Exception):
    """A component met an error after which other items are pointless (budget, refused keys)."""

    def __init__(self, cause: SgforgeError) -> None:
        super().__init__(str(cause))
        self.cause = cause


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

    lanes: tuple[Lane, ...]

    async def close(self) -> None: ...


async def open_crew(
    spec: ComponentSpec, method: str, resources: Resources, batch_size: int | None, workers: int | None
) -> Crew:
    """Workers for one item step, their components built and set up; what fails there is a `StepError`."""
    if is_async(spec.target(), method):
        return await _AsyncCrew.open(spec, method, resources, workers or DEFAULT_IN_FLIGHT)
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
        instance = await asyncio.to_thread(_build, spec, resources)
        return cls(instance, method, in_flight, resources.model is not None)

    async def _answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        try:
            return [Outcome(_checked(await self._call(samples[0])))]
        except Exception as error:
            return [Outcome(_failure(error))]

    async def _answer_with_calls(self, samples: Sequence[Sample]) -> list[Outcome]:
        from sgforge.models import collect_calls

        with collect_calls() as calls:
            outcome = (await self._answer(samples))[0]
        return [attrs.evolve(outcome, calls=tuple(calls))]

    async def close(self) -> None:
        closing = getattr(self._instance, "close", None)
        if closing is not None:
            done = closing()
            if asyncio.iscoroutine(done):
                await done


class _ThreadCrew:
    def __init__(self, workers: Sequence[_Worker], batch: int) -> None:
        self._workers = workers
        # Two calls per thread: one batch runs while the answers of the last one are journalled.
        self.lanes = tuple(Lane(worker.answer, batch, 2) for worker in workers)

    @classmethod
    async def open(
        cls, spec: ComponentSpec, method: str, resources: Resources, batch: int, count: int
    ) -> _ThreadCrew:
        workers = [_Worker(spec, method, resources, number) for number in range(count)]
        crew = cls(workers, batch)
        try:
            await asyncio.gather(*(worker.start() for worker in workers))
        except BaseException:
            await crew.close()
            raise
        return crew

    async def close(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self._workers))


class _Worker:
    """One thread with one instance of a sync component: built, used and closed there."""

    def __init__(self, spec: ComponentSpec, method: str, resources: Resources, number: int) -> None:
        self._spec = spec
        self._method = method
        self._resources = resources
        self._instance: Any = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"sgforge-{spec.name}-{number}")

    async def start(self) -> None:
        self._instance = await self._in_thread(_build, self._spec, self._resources)

    async def answer(self, samples: Sequence[Sample]) -> list[Outcome]:
        answers: list[Outcome] = await self._in_thread(_answer_batch, getattr(self._instance, self._method), samples)
        return answers

    async def close(self) -> None:
        closing = getattr(self._instance, "close", None)
        if closing is not None:
            await self._in_thread(closing)
        self._pool.shutdown(wait=False)

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)


def _build(spec: ComponentSpec, resources: Resources) -> Any:
    try:
        instance = spec.build()
        setup = getattr(instance, "setup", None)
        if setup is not None:
            setup(resources)
    except SgforgeError:
        raise
    except Exception as error:
        raise StepError(
            f"{spec.kind} {spec.name!r} could not be set up: {type(error).__name__}: {error} (--debug shows where)"
        ) from error
    return instance


def _answer_batch(call: Callable[[Sequence[Sample]], Any], samples: Sequence[Sample]) -> list[Outcome]:
    """Answers for a batch; if the batch fails as a whole, each sample is tried alone, so that only the bad one fails."""
    try:
        answers = list(call(samples))
        if len(answers) != len(samples):
            raise StepError(f"it gave {len(answers)} answers for {len(samples)} samples")
        return [Outcome(_checked(answer)) for answer in answers]
    except Exception as error:
        if len(samples) == 1:
            return [Outcome(_failure(error))]
        _log.info("a batch of %d failed (%s: %s); trying its samples one by one", len(samples), type(error).__name__, error)
    return [_answer_batch(call, [sample])[0] for sample in samples]


def _checked(answer: Any) -> Answer:
    if isinstance(answer, (Edit, Failure)):
        return answer
    return Failure("contract", f"it answered {type(answer).__name__}, not an Edit or a Failure")


def _failure(error: Exception) -> Failure:
    """An exception as the failure of one item; one that ends the whole run passes on as `StopRunError`."""
    if isinstance(error, SgforgeError) and getattr(error, "stops_run", False):
        raise StopRunError(error) from error
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and isinstance(error, SgforgeError):
        return Failure(reason, getattr(error, "detail", "") or str(error))
    if isinstance(error, ImageError):
        return Failure("image", str(error))
    if isinstance(error, StepError):
        return Failure("contract", str(error))
    _log.debug("an item failed", exc_info=error)
    return Failure("exception", f"{type(error).__name__}: {error}")
