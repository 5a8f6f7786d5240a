"""Crews: the workers of one component, whoever runs them, and the lanes that samples go through."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import attrs

from sgforge.engine.executors.answering import Outcome, Stopped
from sgforge.engine.executors.work import Work

__all__ = ["Asked", "Crew", "Executor", "Lane", "ask", "at_work", "intake", "told_of_stop"]

Asked: TypeAlias = Callable[[Any], Any]
"""What is asked of an evaluator or a selector: called with it, on its thread."""


@attrs.frozen
class Lane:
    """One way through a crew: at most `batch` samples a call, `depth` calls at one time.

    After `Crew.stop` there may be fewer outcomes than samples: those of the first ones, that were asked before it. What
    is asked of work that answers once for all is no sample: a training gets a `Lesson`, an evaluator or
    selector `Asked`.
    """

    answer: Callable[[Sequence[Any]], Awaitable[list[Outcome]]]
    batch: int
    depth: int


class Crew(Protocol):
    """The workers of one component."""

    @property
    def lanes(self) -> Sequence[Lane]: ...

    def stop(self) -> None:
        """Begin no further call or batch; what runs is finished."""

    async def close(self) -> None:
        """Close the components once their last batch is done."""

    def abandon(self) -> None:
        """Let go of the components without waiting for what they are doing."""


class Executor(Protocol):
    """Opens crews: in threads of this process, in other processes, on other machines.

    Asked only for work that may leave the driver (`Work.may_leave`). Its crews give the answers that one in the driver
    would give, in the same order, with the ids of the model calls behind each. A worker that is lost is a `StepError`
    when trying its batch again does not help; nothing of a batch that was lost counts as answered.

    It opens trainings too if it has `trains = True`: then its machines see the dataset's folder, and what was said of
    processes in `RunSettings` holds there. The driver does them for any other.
    """

    async def open(self, work: Work, /) -> Crew:
        """Workers with the component built and set up; what fails there is a `StepError`."""
        ...


def intake(crew: Crew) -> int:
    """Samples that all lanes of a crew can hold at once."""
    return sum(lane.batch * lane.depth for lane in crew.lanes)


async def ask(crew: Crew, samples: Sequence[Any]) -> list[Any]:
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


@asynccontextmanager
async def at_work() -> AsyncIterator[list[Crew]]:
    """A list for crews that are opened meanwhile: all are closed at the end, whatever happens to one of them.

    After a cancellation, a second Ctrl-C, they are let go of: closing would wait for the batch that runs, which is what
    nobody wants any more.
    """
    crews: list[Crew] = []
    try:
        yield crews
    except asyncio.CancelledError:
        while crews:
            crews.pop().abandon()
        raise
    finally:
        # A stack, so that one crew that cannot be closed does not keep the others open.
        async with AsyncExitStack() as closing:
            for crew in crews:
                closing.push_async_callback(crew.close)


@asynccontextmanager
async def told_of_stop(stop: asyncio.Event, hear: Callable[[], object]) -> AsyncIterator[None]:
    """While this lasts, `hear` is called once `stop` is set."""

    async def wait() -> None:
        await stop.wait()
        hear()

    watcher = asyncio.create_task(wait())
    try:
        yield
    finally:
        watcher.cancel()
