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
from sgforge.engine.planning.components import ComponentSpec
from sgforge.stages import Resources

__all__ = ["open_door"]


@attrs.frozen
class _Door:
    """Opens all crews of a run."""

    here: Executor
    away: Executor

    async def open(self, work: Work, /) -> Crew:
        return await (self.away if work.may_leave else self.here).open(work)


@asynccontextmanager
async def open_door(executor: ComponentSpec | None) -> AsyncIterator[Executor]:
    """The executor of a run; None for that of the driver alone. It is closed at the end, if it can be."""
    here = LocalExecutor()
    if executor is None:
        yield here
        return
    away = await asyncio.to_thread(build, executor, Resources())
    try:
        yield _Door(here, away.instance)
    finally:
        await away.close_async()
