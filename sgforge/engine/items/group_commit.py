"""Committer: makes answers durable in groups, so that an item goes on only after its answer cannot be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgforge.dataset import JournalRow

__all__ = ["Committer"]

Put = Callable[[Sequence["JournalRow"]], Awaitable[None]]


class Committer:
    """Writes journal rows in one transaction per turn: all rows that came while the last transaction was written.

    Under load a transaction holds the rows of many batches; alone, a row is durable after one transaction's time.
    """

    def __init__(self, put: Put) -> None:
        self._put = put
        self._rows: list[JournalRow] = []
        self._done: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def commit(self, rows: Sequence[JournalRow]) -> None:
        """Return when all rows are durable; what the journal raises is raised here."""
        if not rows:
            return
        # Rows and their future are set in one breath, without an await between: a turn takes both or none.
        self._rows.extend(rows)
        if self._done is None:
            self._done = asyncio.get_running_loop().create_future()
        done = self._done
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        # The future is shared by all who came in this turn: one of them being cancelled must not cancel it for all.
        await asyncio.shield(done)

    async def _write(self) -> None:
        while self._done is not None:
            # One turn of the loop lets batches that ended together share a transaction.
            await asyncio.sleep(0)
            rows, done = self._rows, self._done
            self._rows, self._done = [], None
            try:
                await self._put(rows)
            except BaseException as error:
                done.set_exception(error)
                # Everyone who waits gets it; when all of them were cancelled it is not an unheard error.
                done.exception()
                if not isinstance(error, Exception):
                    raise
            else:
                done.set_result(None)
