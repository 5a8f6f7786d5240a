"""The door of a run: components that may leave the driver go to the executor that was asked for, the rest stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from sgforge.engine.executors.crew import Crew, Executor
from sgforge.engine.executors.lifecycle import build
from sgforge.engine.executors.local import LocalExecutor
from sgforge.engine.executors.work import Work
from sgforge.engine.planning.components import ComponentSpec, trains
from sgforge.stages import Resources

__all__ = ["Door", "open_door"]


@attrs.frozen
class Door:
    """The one way to the components of a run. `away`: who opens what may leave the driver; None if all stays."""

    away: Executor | None = None

    async def open(self, work: Work, /) -> Crew:
        """Workers with the component set up; what fails there is a `StepError`."""
        executor = self.away if self.away is not None and _takes(self.away, work) else LocalExecutor()
        return await executor.open(work)


def _takes(away: Executor, work: Work) -> bool:
    return work.may_leave and (work.answers != "checkpoint" or trains(away))


@asynccontextmanager
async def open_door(executor: ComponentSpec | None) -> AsyncIterator[Door]:
    """The door of a run with this executor; it is closed at the end, if it can be."""
    if executor is None:
        yield Door()
        return
    away = await asyncio.to_thread(build, executor, Resources())
    try:
        yield Door(away.instance)
    finally:
        await away.close_async()
