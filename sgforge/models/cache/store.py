"""`responses.sqlite`: every answer ever bought under its key, and the ledger of what was paid.

One writer thread commits what has gathered while the last commit was running (WAL, synchronous=FULL: an answer that
was acknowledged survives a power cut). Money is held in whole nano-dollars, so sums are exact. The amount committed so
far stands in one row that changes in the same transaction as the ledger: a budget holds for all processes that share
the file.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import attrs

from sgforge.errors import DatasetError
from sgforge.models.cache.disk_reserve import Ballast
from sgforge.models.errors import ModelError, StoreError

__all__ = ["STORE_VERSION", "OpenToRead", "Operation", "Rows", "Store"]

STORE_VERSION: Final = "1"
_GROUP = 512
"""Most operations in one commit; more than ever are in flight at one time."""

_T = TypeVar("_T")
Operation: TypeAlias = Callable[[sqlite3.Connection], _T]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY CHECK (id = 0), committed_nano INTEGER NOT NULL);
INSERT OR IGNORE INTO account VALUES (0, 0);
CREATE TABLE IF NOT EXISTS response (
    key BLOB PRIMARY KEY, model TEXT NOT NULL, outcome TEXT NOT NULL, raw BLOB NOT NULL, detail TEXT NOT NULL,
    input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL, output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL, cost_nano INTEGER, repaired INTEGER NOT NULL, notes TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS call (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, model TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    outcome TEXT NOT NULL, bound_nano INTEGER, cost_nano INTEGER, input INTEGER NOT NULL DEFAULT 0,
    cache_read INTEGER NOT NULL DEFAULT 0, cache_write INTEGER NOT NULL DEFAULT 0, output INTEGER NOT NULL DEFAULT 0,
    reasoning INTEGER NOT NULL DEFAULT 0, seconds REAL, prices TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE, model TEXT NOT NULL, state TEXT NOT NULL, remote_id TEXT,
    status TEXT NOT NULL DEFAULT '', spool TEXT NOT NULL, total INTEGER NOT NULL, bytes INTEGER NOT NULL,
    at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS batch_item (
    key BLOB PRIMARY KEY, custom_id TEXT NOT NULL UNIQUE, batch INTEGER NOT NULL REFERENCES batch (id),
    call INTEGER NOT NULL, terms BLOB NOT NULL, schema BLOB);
CREATE TABLE IF NOT EXISTS batch_schema (hash BLOB PRIMARY KEY, content BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS batch_item_of ON batch_item (batch);
"""


class Rows(Protocol):
    """The file as far as it is read."""

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        ...


class OpenToRead:
    """The file behind a connection that cannot write: whoever only looks takes no reserve of the disk and no writer."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._connection = connection
        _check_version(path, connection)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        return self._connection.execute(sql, values).fetchall()


@attrs.define
class _Job:
    """One operation waiting for its commit."""

    operation: Operation[Any]
    future: asyncio.Future[Any] | None = None
    result: Any = None
    error: BaseException | None = None


class Store:
    """The open file: synchronous reads on the caller's thread, grouped durable writes on its own thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = Ballast(path)
        self._is_full = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        with ExitStack() as opened:
            # Two connections, as in WAL mode one reads while the other commits: a look into the cache needs no disk.
            self._reader = opened.enter_context(closing(_connect(path)))
            self._writer = opened.enter_context(closing(_connect(path)))
            # Before the first job can come: what is bought without it could find no place.
            self._ballast.take()
            self._thread = threading.Thread(target=self._work, name="sgforge-responses", daemon=True)
            self._thread.start()
            opened.pop_all()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        return self._reader.execute(sql, values).fetchall()

    async def write(self, operation: Operation[_T]) -> _T:
        """Run an operation in the next transaction; when this returns, it is on disk.

        A `ModelError` is the operation's answer (it must be raised before anything was changed), a `StoreError` says
        that the file cannot be written. Cancelling the caller does not undo the operation.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(operation, future))
        return await future

    def post(self, operation: Operation[Any]) -> None:
        """Run an operation in the next transaction, after all that were written before it; nobody waits for it."""
        self._jobs.put(_Job(operation))

    def check_room(self) -> None:
        """A `StoreError` once the disk was full: what room is left belongs to answers that are under way."""
        if self._is_full:
            raise StoreError(self._no_room("the disk is full"))

    def close(self) -> None:
        """Commit what waits and close the file."""
        if self._thread.is_alive():
            # Behind all jobs, not instead of them: what was written or posted before is committed first.
            self._jobs.put(None)
            self._thread.join()
        self._reader.close()
        # Last: the commits above may have been what it is held for.
        self._ballast.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        with closing(self._writer) as connection:
            ended = False
            while not ended:
                jobs, ended = self._gather()
                if jobs:
                    self._commit_together(connection, jobs)
                    _tell(jobs)

    def _commit_together(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        """One transaction for all jobs; if an operation breaks it, each is run in a transaction of its own."""
        try:
            _transact(connection, jobs)
        except Exception as failure:
            # One of many broke it and nothing says which. Each alone costs a commit of its own, but an answer that is
            # paid for is not lost with a neighbour's fault.
            self._make_room(failure)
            for job in jobs:
                try:
                    _transact(connection, [job])
                except Exception as error:
                    self._make_room(error)
                    job.error = StoreError(self._no_room(str(error))) if _cannot_write(error) else error

    def _make_room(self, error: Exception) -> None:
        """On a full disk, give the ballast to the answers that are under way."""
        if _cannot_write(error):
            # For good: space that comes back later is not trusted, as the next answer would be bought on it.
            self._is_full = True
            self._ballast.spend()

    def _no_room(self, why: str) -> str:
        return (
            f"{self.path} cannot be written: {why}; nothing more is bought, answers that were kept are used again: "
            "free some space and run again"
        )

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for one job, then take all that are there; True when the store is closing."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _GROUP:  # the rest goes with the next commit: nobody waits for an endless one
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True


def _transact(connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
    # The right to write is taken at once: a budget that is read first and written later would not hold over processes.
    connection.execute("BEGIN IMMEDIATE")
    try:
        for job in jobs:
            job.result = job.error = None  # of the time before, where the transaction with the others broke
            try:
                job.result = job.operation(connection)
            except ModelError as error:
                # An answer such as "no budget", given before anything was changed: the transaction goes on.
                job.error = error
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back itself where it could not write, and refuses to do it twice.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


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


def _connect(path: Path) -> sqlite3.Connection:
    with ExitStack() as opened:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60.0)
            opened.callback(connection.close)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (STORE_VERSION,))
            _check_version(path, connection)
        except (sqlite3.Error, OSError) as error:
            raise DatasetError(f"responses file {path}: {error}") from error
        opened.pop_all()
    return connection


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0]
    if found != STORE_VERSION:
        raise DatasetError(f"responses file {path} has version {found}, this sgforge reads {STORE_VERSION}")
