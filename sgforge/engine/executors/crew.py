"""Crews: the workers of one component, whoever runs them, and the lanes that samples go through."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import attrs

from sgforge.engine.executors.answering import Outcome, Stopped
from sgforge.engine.executors.work import Work
from sgforge.graph import Sample

__all__ = ["Crew", "Executor", "Lane", "ask", "intake"]


@attrs.frozen
class Lane:
    """One way through a crew: at most `batch` samples a call, `depth` calls at one time.

    After `Crew.stop` there may be fewer outcomes than samples: those of the first ones, that were asked before it.
    """

    answer: Callable[[Sequence[Sample]], Awaitable[list[Outcome]]]
    batch: int
    depth: int


class Crew(Protocol):
    """The workers of one component that answers sample by sample."""

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
    """

    async def open(self, work: Work, /) -> Crew:
        """Workers with the component built and set up; what fails there is a `StepError`."""
        ...


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
