"""GroupCommit: one writer thread for a SQLite file, which commits together what has gathered meanwhile.

What is acknowledged survives a power cut (the connection is to be one with WAL and synchronous=FULL), and what gathered
while the last commit was running costs one commit. On a full disk the space of a reserve file is given to what is under
way; what finds no place even there is told so, and nothing is acknowledged that is not durable.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import attrs

__all__ = ["GroupCommit", "Operation", "Reserve"]

_MOST: Final = 512
"""Most operations in one commit; more than ever are in flight at one time."""

_T = TypeVar("_T")
Operation: TypeAlias = Callable[[sqlite3.Connection], _T]


class Reserve(Protocol):
    """Space that is held back for what is under way when the disk fills."""

    def spend(self) -> None:
        """Give it up."""
        ...


@attrs.define
class _Job:
    """One operation waiting for its commit."""

    operation: Operation[Any]
    future: asyncio.Future[Any] | None = None
    result: Any = None
    error: BaseException | None = None


class GroupCommit:
    """Operations on a connection, each run in the next transaction of a thread that this starts.

    `name`: of the thread. `refusals`: errors that are an operation's answer, raised before it changed anything.
    `no_room`: the error for whoever finds no place on a full disk, from the one of SQLite. `alone`: what the connection
    is held with, where others use it too. The connection stays the caller's, to be closed after this.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        reserve: Reserve,
        no_room: Callable[[Exception], Exception],
        *,
        refusals: tuple[type[Exception], ...] = (),
        alone: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._connection = connection
        self._reserve = reserve
        self._no_room = no_room
        self._refusals = refusals
        self._alone = nullcontext() if alone is None else alone
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.is_full = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def write(self, operation: Operation[_T]) -> _T:
        """Run an operation in the next transaction; when this returns, it is on disk.

        Cancelling the caller does not undo the operation, nor keep it from being done.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(operation, future))
        return await future

    def post(self, operation: Operation[Any]) -> None:
        """Run an operation in the next transaction, after all that were written before it; nobody waits for it."""
        self._jobs.put(_Job(operation))

    def close(self) -> None:
        """Commit what waits and end the thread."""
        if self._thread.is_alive():
            # Behind all jobs, not instead of them: what was written or posted before is committed first.
            self._jobs.put(None)
            self._thread.join()

    def _work(self) -> None:
        ended = False
        while not ended:
            jobs, ended = self._gather()
            if jobs:
                with self._alone:
                    self._commit_together(jobs)
                _tell(jobs)

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for one job, then take all that are there; True when this is closing."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _MOST:  # the rest goes with the next commit: nobody waits for an endless one
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _commit_together(self, jobs: Sequence[_Job]) -> None:
        """One transaction for all jobs; if an operation breaks it, each is run in a transaction of its own."""
        try:
            self._transact(jobs)
        except Exception as failure:
            # One of many broke it and nothing says which. Each alone costs a commit of its own, but no answer is lost
            # with a neighbour's fault.
            self._make_room(failure)
            for job in jobs:
                try:
                    self._transact([job])
                except Exception as error:
                    self._make_room(error)
                    job.error = self._no_room(error) if _cannot_write(error) else error

    def _transact(self, jobs: Sequence[_Job]) -> None:
        connection = self._connection
        # The right to write is taken at once: what is read first and written later would not hold over processes.
        connection.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                job.result = job.error = None  # of the time before, where the transaction with the others broke
                try:
                    job.result = job.operation(connection)
                except self._refusals as error:
                    # An answer such as "no budget", given before anything was changed: the transaction goes on.
                    job.error = error
            connection.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back itself where it could not write, and refuses to do it twice.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _make_room(self, error: Exception) -> None:
        """On a full disk, give the reserve to what is under way."""
        if _cannot_write(error):
            # For good: space that comes back later is not trusted, as more would be begun on it.
            self.is_full = True
            self._reserve.spend()


def _cannot_write(error: Exception) -> bool:
    """Whether it is the disk that failed, and not the operation."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _tell(jobs: Sequence[_Job]) -> None:
    """Wake the callers, one wake-up for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        if job.future is not None:
            by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, group in by_loop.items():
        with suppress(RuntimeError):  # the loop has closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, group)


def _resolve(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.future is None or job.future.done():  # nobody waited, or gave up: it is committed all the same
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)
