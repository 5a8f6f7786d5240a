"""`responses.sqlite`: every answer ever bought under its key, and the ledger of what was paid.

One writer thread commits what has gathered while the last commit was running (`sgforge.group_commit`). Money is held in
whole nano-dollars, so sums are exact. The amount committed so far stands in one row that changes in the same
transaction as the ledger: a budget holds for all processes that share the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar

from sgforge.disk_reserve import DiskReserve
from sgforge.errors import DatasetError
from sgforge.group_commit import GroupCommit, Operation
from sgforge.models.errors import ModelError, StoreError
from sgforge.seals import AtRest
from sgforge.sqlite_files import connect

__all__ = ["STORE_VERSION", "OpenToRead", "ReadStore", "Rows", "Store", "schema_faults"]

STORE_VERSION: Final = "1"
_RESERVE: Final = 8_000_000
"""Bytes of several hundred answers with their log; no more are in flight at one time."""

_LOOKED_AT: Final = 2**28
"""Bytes of a file that is read when it is opened, to see whether it was changed at rest: a few tenths of a second."""

_T = TypeVar("_T")

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
CREATE TABLE IF NOT EXISTS any_limit (
    base BLOB NOT NULL, key BLOB NOT NULL, max_tokens INTEGER NOT NULL, PRIMARY KEY (base, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS faulty (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, raw BLOB NOT NULL, fault TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS faulty_of ON faulty (key);
INSERT OR IGNORE INTO meta SELECT 'any_limit', CASE WHEN EXISTS (SELECT 1 FROM response) THEN 'new' ELSE 'all' END;
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


class Store:
    """The open file: synchronous reads on the caller's thread, grouped durable writes on its own thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reserve = DiskReserve(path, _RESERVE)
        self._rest = AtRest(path, most=_LOOKED_AT)
        with ExitStack() as opened:
            # Two connections, as in WAL mode one reads while the other commits: a look into the cache needs no disk.
            self._reader = opened.enter_context(closing(_connect(path)))
            self._writer = opened.enter_context(closing(_connect(path)))
            # Before the first job can come: what is bought without it could find no place.
            self._take_reserve()
            self._commits = GroupCommit(
                self._writer, "sgforge-responses", self._reserve, self._no_room, refusals=(ModelError,)
            )
            opened.pop_all()

    def _take_reserve(self) -> None:
        try:
            self._reserve.take()
        except OSError as error:
            raise DatasetError(f"responses file {self.path}: {self._reserve.why_not(error)}") from error

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        return self._reader.execute(sql, values).fetchall()

    async def write(self, operation: Operation[_T]) -> _T:
        """Run an operation in the next transaction; when this returns, it is on disk.

        A `ModelError` is the operation's answer (it must be raised before anything was changed), a `StoreError` says
        that the file cannot be written. Cancelling the caller does not undo the operation.
        """
        return await self._commits.write(operation)

    def post(self, operation: Operation[Any]) -> None:
        """Run an operation in the next transaction, after all that were written before it; nobody waits for it."""
        self._commits.post(operation)

    @cached_property
    def keeps_faults(self) -> bool:
        """Whether the file has what earlier versions did not give it: bodies of no use, an index without max_tokens."""
        return bool(self.read("SELECT 1 FROM sqlite_master WHERE name = 'any_limit'"))

    @cached_property
    def has_earlier_answers(self) -> bool:
        """Whether the file may hold answers that stand in no index without max_tokens."""
        return self.read("SELECT value FROM meta WHERE name = 'any_limit'") != [("all",)]

    def remember(self, name: str, value: str) -> None:
        """Keep what was decided once, unless it is there already."""
        self.post(lambda connection: connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value)))

    def check_room(self) -> None:
        """A `StoreError` once the disk was full: what room is left belongs to answers that are under way."""
        if self._commits.is_full:
            raise self._no_room("the disk is full")

    def close(self) -> None:
        """Commit what waits and close the file."""
        self._commits.close()
        self._writer.close()
        self._reader.close()
        # Last: the commits above may have been what it is held for.
        self._reserve.release(alone=self._rest.come)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _no_room(self, why: object) -> StoreError:
        return StoreError(
            f"{self.path} cannot be written: {why}; nothing more is bought, answers that were kept are used again: "
            "free some space and run again"
        )


class ReadStore(Store):
    """The same for whoever buys nothing: the file stays as it is, and what would be written is a `StoreError`.

    `connect` gives a connection that cannot write. Each look has one of its own, so that it sees the file as it is
    then, whoever writes to it meanwhile.
    """

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self.path = path
        self._open = connect
        with self._look() as connection:
            _check_version(path, connection)

    @contextmanager
    def _look(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._open(self.path)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise DatasetError(f"responses file {self.path}: {error}") from error

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._look() as connection:
            return connection.execute(sql, values).fetchall()

    async def write(self, operation: Operation[_T]) -> _T:
        raise StoreError(f"{self.path} is only read: nothing is bought")

    def post(self, operation: Operation[Any]) -> None:
        raise StoreError(f"{self.path} is only read: nothing is bought")

    def remember(self, name: str, value: str) -> None: ...

    def check_room(self) -> None: ...

    def close(self) -> None: ...


def _connect(path: Path) -> sqlite3.Connection:
    with ExitStack() as opened:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = connect(path, timeout=60.0)
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


def schema_faults(connection: sqlite3.Connection) -> list[str]:
    """What an open file lacks to be one of paid answers: its version, tables, columns."""
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(_SCHEMA)
        wanted = {table: _columns(model, table) for table in _ALWAYS}
    found = {table: _columns(connection, table) for table in _ALWAYS}
    lost = [f"table {table} is gone" for table in _ALWAYS if not found[table]]
    for table in set(_ALWAYS) - {text.split()[1] for text in lost}:
        lost += [f"table {table} has no column {name}" for name in sorted(wanted[table] - found[table])]
    if found["meta"] and connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone() is None:
        lost.append("its version is gone")
    return lost


_ALWAYS: Final = ("meta", "account", "response", "call")
"""Tables of every version of the file."""


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0]
    if found != STORE_VERSION:
        raise DatasetError(f"responses file {path} has version {found}, this sgforge reads {STORE_VERSION}")
