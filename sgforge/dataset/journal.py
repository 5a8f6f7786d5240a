"""The journal: finished answers, durable before they are acknowledged, until their step is published.

A run keeps its answers through the writer thread of `sgforge.group_commit`, which starts with the first of them.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.dataset.damage import damaged_journal
from sgforge.dataset.records import (
    ANSWER_COLUMNS,
    RECORD_COLUMNS,
    USE_COLUMNS,
    FolderUse,
    JournalRow,
    ReadingRecord,
    RunRecord,
    StepRecord,
    answer_crc,
    is_record,
    is_sound,
    record_crc,
    use_of,
)
from sgforge.disk_reserve import DiskReserve
from sgforge.durable import sync_folder
from sgforge.edits import UNANSWERED
from sgforge.errors import DatasetError
from sgforge.group_commit import GroupCommit
from sgforge.seals import AtRest
from sgforge.sqlite_files import connect, is_endless

__all__ = ["FileHash", "Journal", "sealed_journal"]

_TABLES: Final = {
    "answer": "CREATE TABLE IF NOT EXISTS {} (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "image_id TEXT NOT NULL, step TEXT NOT NULL, edit BLOB NOT NULL, calls TEXT NOT NULL, run TEXT NOT NULL, "
    "counts TEXT NOT NULL, parent_key BLOB NOT NULL, crc INTEGER)",
    "run": "CREATE TABLE IF NOT EXISTS {} (run_id TEXT PRIMARY KEY, config TEXT NOT NULL, versions TEXT NOT NULL, "
    "started TEXT NOT NULL, crc INTEGER)",
    "step": "CREATE TABLE IF NOT EXISTS {} (name TEXT PRIMARY KEY, verb TEXT NOT NULL, component TEXT NOT NULL, "
    "fingerprint TEXT NOT NULL, options TEXT NOT NULL, crc INTEGER)",
    "file_hash": "CREATE TABLE IF NOT EXISTS {} (uri TEXT PRIMARY KEY, size INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, crc INTEGER)",
    "reading": "CREATE TABLE IF NOT EXISTS {} (number INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, "
    "stamp TEXT NOT NULL, snapshot TEXT NOT NULL, told TEXT NOT NULL, crc INTEGER)",
    "open_answer": "CREATE TABLE IF NOT EXISTS {} (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, crc INTEGER)",
    "start": "CREATE TABLE IF NOT EXISTS {} (number INTEGER PRIMARY KEY, snapshot TEXT NOT NULL, crc INTEGER)",
    "folder_use": "CREATE TABLE IF NOT EXISTS {} (number INTEGER PRIMARY KEY, folder TEXT NOT NULL, "
    "step TEXT NOT NULL, run TEXT NOT NULL, branch TEXT NOT NULL, snapshot TEXT NOT NULL, used TEXT NOT NULL, "
    "is_final INTEGER NOT NULL, crc INTEGER, UNIQUE (folder, branch, snapshot, is_final))",
}
_PAGE: Final = 8192
"""Bytes of a page: answers are a few kB each."""
_RESERVE: Final = 500_000
"""Bytes held back for answers that are under way when the disk fills: a hundred, of a few kB each."""
_NO_CALLS: Final = "[]"
_NO_COUNTS: Final = "{}"
_COLUMNS: Final = f"{ANSWER_COLUMNS}, crc"
_BATCH: Final = 500
_MOST_READINGS: Final = 64
"""Readings that are remembered: of each source and limit one, as often as its options change another."""
_MOST_STARTS: Final = 64
"""Snapshots from which steps started that are remembered: an unfinished run is among the last."""
_REMAINING: Final = "FROM answer WHERE key NOT IN (SELECT key FROM temp.forgotten)"
_FEW: Final = 2000
"""As many answers are deleted one by one; more are left behind in a rewritten file, which is far cheaper."""


@attrs.frozen
class FileHash:
    """The sha256 of a file as it was with this size and time of change."""

    uri: str
    size: int
    mtime_ns: int
    sha256: str


def sealed_journal(path: Path) -> Path:
    """The path beside which the seal of a journal lies."""
    return path.parent / "seals" / path.name


class Journal:
    """Answers by key in one SQLite file (write-ahead log, every commit synchronous); safe to use from threads.

    An answer that is not what was kept, by its checksum, is taken out when it is met, and stands in `damaged`: its
    image is done again. At rest the file has a seal; one that did not fit it on opening is looked through on closing.
    """

    def __init__(self, path: Path, *, look_through: bool = False) -> None:
        """Open or make the file; `look_through`: every row on closing, whatever its seal says."""
        self._path = path
        self._rest = AtRest(path, sealed_journal(path))
        self._rest.is_changed |= look_through
        self._fresh = path.with_name(path.name + ".new")
        self._fresh.unlink(missing_ok=True)
        self._reserve = DiskReserve(path, _RESERVE)
        self._reserve.discard()
        self._commits: GroupCommit | None = None
        self._lock = threading.Lock()
        self.damaged: list[str] = []
        with self._errors(), ExitStack() as opened:
            self._base = connect(path)
            opened.callback(self._base.close)
            for pragma in (
                f"page_size={_PAGE}",
                "journal_mode=WAL",
                "synchronous=FULL",
                "busy_timeout=10000",
            ):
                self._base.execute(f"PRAGMA {pragma}")
            for table, create in _TABLES.items():
                self._base.execute(create.format(table))
            for table in ("answer", *RECORD_COLUMNS):
                if "crc" not in {name for _, name, *_ in self._base.execute(f"PRAGMA table_info({table})")}:
                    # A file from before its rows had checksums; those in it go on without.
                    self._base.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER")
            self._base.execute("CREATE TEMP TABLE forgotten (key BLOB PRIMARY KEY) WITHOUT ROWID")
            opened.pop_all()

    def _look_through(self) -> None:
        """Take out all rows that are not what was kept, of a file that was changed while nobody had it open."""
        self.unpublished()  # which takes out what is damaged, from the index too
        with self._transaction() as base:
            for table, columns in RECORD_COLUMNS.items():
                rows = base.execute(f"SELECT rowid, crc, {columns} FROM {table}").fetchall()
                bad = [(number,) for number, *row in rows if not is_record(row)]
                base.executemany(f"DELETE FROM {table} WHERE rowid = ?", bad)
            base.execute("REINDEX")
        if found := self.problems():
            raise damaged_journal(self._path, found[0])
        self._rest.trust()

    def close(self) -> None:
        """Commit what waits, remove what was forgotten and close the file; the log is folded into it."""
        if self._commits is not None:
            self._commits.close()
        # Before what follows, which may need the space.
        self._reserve.release()
        is_rewritten = False
        with suppress(DatasetError):
            # On a full disk the forgotten answers simply stay; they are forgotten again when their step is met again.
            is_rewritten = self._drop_forgotten()
        if self._rest.is_changed:
            with suppress(DatasetError):  # then `verify` goes on telling it, until `repair`
                self._look_through()
        with self._lock:
            self._base.close()
        # A log that is left belongs to another process that has the old file open; then the old file stays.
        if is_rewritten and not self._path.with_name(self._path.name + "-wal").exists():
            self._fresh.replace(self._path)
            sync_folder(self._path.parent)
        self._rest.come()

    def put(self, rows: Sequence[JournalRow]) -> None:
        """Keep these answers, in one transaction that is durable when this returns; a key that is there stays."""
        with self._transaction() as base:
            _insert(base, rows)

    async def keep(self, rows: Sequence[JournalRow]) -> None:
        """As `put`, in one transaction with whatever others keep meanwhile, and without holding up the event loop.

        Once the disk was full this raises, also where the rows found a place in the space held back for them: they are
        kept, and nothing more is to be begun.
        """
        if not rows:
            return
        commits = self._commits or self._begin_commits()
        try:  # and no `with self._errors()`, which costs as much as all else here: each answer passes
            await commits.write(lambda base: _insert(base, rows))
        except sqlite3.Error as error:
            raise self._told(error) from error
        if commits.is_full:
            raise self._cannot("the disk is full")

    def _begin_commits(self) -> GroupCommit:
        try:
            self._reserve.take()
        except OSError as error:
            raise DatasetError(f"{self._path}: {self._reserve.why_not(error)}") from error
        self._commits = GroupCommit(
            self._base,
            "sgforge-journal",
            self._reserve,
            lambda error: self._cannot(f"the disk is full ({error})"),
            alone=self._lock,
        )
        return self._commits

    def get(self, keys: Iterable[bytes]) -> dict[bytes, JournalRow]:
        """The answers with these keys; keys that are not there are left out."""
        return {row.key: row for row in map(_row, self._select(keys))}

    def has(self, keys: Iterable[bytes]) -> set[bytes]:
        """Which of these keys are there."""
        return {values[0] for values in self._select(keys)}

    def open_answers(self) -> frozenset[bytes]:
        """The keys of answers, published ones included, that left questions without an answer."""
        with self._errors(), self._lock:
            return frozenset(key for (key,) in self._base.execute("SELECT key FROM open_answer"))

    def __len__(self) -> int:
        with self._errors(), self._lock:
            return self._count(_REMAINING)

    def unpublished(self) -> list[tuple[bytes, bytes, str, str]]:
        """(parent key, key, image id, step) of every answer, in order of arrival."""
        found, bad = [], []
        with self._errors(), self._lock:
            for number, *stored in self._base.execute(f"SELECT number, {_COLUMNS} {_REMAINING} ORDER BY number"):
                if is_sound(stored):
                    key, image_id, step, *_, parent_key, _ = stored
                    found.append((parent_key, key, image_id, step))
                else:
                    bad.append((number, stored))
        self._take_out(bad)
        return found

    def forget(self, keys: Iterable[bytes]) -> None:
        """Let go of answers that stand in a durable snapshot; their space is freed on closing."""
        with self._errors(), self._lock:
            self._base.execute("BEGIN")
            self._base.executemany("INSERT OR IGNORE INTO temp.forgotten VALUES (?)", ((key,) for key in keys))
            self._base.execute("COMMIT")

    def _drop_forgotten(self) -> bool:
        """Remove forgotten answers; whether the file without them stands beside the old one."""
        with self._errors(), self._lock:
            gone = self._count("FROM answer WHERE key IN (SELECT key FROM temp.forgotten)")
            if gone > _FEW:
                return self._rewrite()
            if gone:
                self._base.execute("DELETE FROM answer WHERE key IN (SELECT key FROM temp.forgotten)")
        return False

    def _rewrite(self) -> bool:
        self._base.execute("ATTACH ? AS fresh", (str(self._fresh),))
        self._base.execute(f"PRAGMA fresh.page_size={_PAGE}")
        self._base.execute("BEGIN")
        for table, create in _TABLES.items():
            self._base.execute(create.format(f"fresh.{table}"))
            chosen = _REMAINING + " ORDER BY number" if table == "answer" else f"FROM {table}"
            self._base.execute(f"INSERT INTO fresh.{table} SELECT * {chosen}")
        self._base.execute("COMMIT")
        self._base.execute("DETACH fresh")
        return True

    def _count(self, source: str) -> int:
        return int(self._base.execute(f"SELECT COUNT(*) {source}").fetchone()[0])

    def begin_run(self, run: RunRecord) -> None:
        """Remember a run; its record goes into every snapshot that it publishes."""
        values = (run.run_id, run.config_json, json.dumps(dict(run.versions), sort_keys=True), run.started)
        with self._transaction() as base:
            base.execute("INSERT OR REPLACE INTO run VALUES (?,?,?,?,?)", (*values, record_crc(values)))

    def runs(self) -> list[RunRecord]:
        """All runs that are remembered."""
        with self._errors(), self._lock:
            rows = self._base.execute("SELECT run_id, config, versions, started FROM run ORDER BY started, run_id")
            return [RunRecord(run, config, json.loads(versions), started) for run, config, versions, started in rows]

    def begin_step(self, step: StepRecord) -> None:
        """Remember a step before its first answer, so that it can be published unfinished."""
        values = (step.name, step.verb, step.component, step.fingerprint, step.options_json)
        with self._transaction() as base:
            base.execute("INSERT OR REPLACE INTO step VALUES (?,?,?,?,?,?)", (*values, record_crc(values)))

    def begin_at(self, snapshot_id: str) -> None:
        """Remember the snapshot to which steps begin to answer: several may hold the states that they answer to."""
        with self._transaction() as base:
            values = (snapshot_id, record_crc((snapshot_id,)))
            base.execute("INSERT INTO start (snapshot, crc) VALUES (?,?)", values)
            base.execute("DELETE FROM start WHERE number <= (SELECT MAX(number) FROM start) - ?", (_MOST_STARTS,))

    def starts(self) -> list[str]:
        """The snapshots to which steps began to answer, the last one last."""
        with self._errors(), self._lock:
            return [snapshot for (snapshot,) in self._base.execute("SELECT snapshot FROM start ORDER BY number")]

    def note_use(self, use: FolderUse) -> None:
        """Remember that a run uses the folder of a step; of equal uses the last."""
        with self._transaction() as base:
            _insert_use(base, use)

    def end_uses(self, run_id: str, snapshot_id: str) -> None:
        """Let the folders that a run used go with the version it ended with, whatever runs before it left open."""
        with self._transaction() as base:
            query = f"SELECT {USE_COLUMNS} FROM folder_use WHERE run = ? AND NOT is_final ORDER BY number"
            for use in [use_of(row) for row in base.execute(query, (run_id,))]:
                where = "folder = ? AND branch = ? AND NOT is_final"
                base.execute(f"DELETE FROM folder_use WHERE {where}", (use.folder, use.branch))
                _insert_use(base, attrs.evolve(use, snapshot_id=snapshot_id, is_final=True))

    def forget_uses(self, folders: Iterable[str]) -> None:
        """Let go of the uses of folders that are gone."""
        with self._transaction() as base:
            base.executemany("DELETE FROM folder_use WHERE folder = ?", [(folder,) for folder in folders])

    def step(self, name: str) -> StepRecord:
        """What is known of a step by this name."""
        with self._errors(), self._lock:
            row = self._base.execute(
                "SELECT name, verb, component, fingerprint, options FROM step WHERE name = ?", (name,)
            ).fetchone()
        name, verb, component, fingerprint, options = row or (name, "", "", "", "{}")
        return StepRecord(name=name, verb=verb, component=component, fingerprint=fingerprint, options_json=options)

    def sha256(self, uri: str, size: int, mtime_ns: int) -> str | None:
        """The remembered hash of a file, if size and time of change are still those."""
        return self.hashes([(uri, size, mtime_ns)])[0]

    def hashes(self, files: Sequence[tuple[str, int, int]]) -> list[str | None]:
        """The remembered hashes of files given as (uri, size, mtime_ns); None where it is not known."""
        query = f"SELECT crc, {RECORD_COLUMNS['file_hash']} FROM file_hash WHERE uri = ? AND size = ? AND mtime_ns = ?"
        with self._errors(), self._lock:
            rows = (self._base.execute(query, file).fetchone() for file in files)
            return [row[-1] if row and is_record(row) else None for row in rows]

    def remember_sha256(self, rows: Iterable[FileHash | tuple[str, int, int, str]]) -> None:
        """Remember hashes of files: (uri, size, mtime_ns, sha256) each."""
        given = [attrs.astuple(row) if isinstance(row, FileHash) else tuple(row) for row in rows]
        values = [(*row, record_crc(row)) for row in given]
        with self._transaction() as base:
            base.executemany("INSERT OR REPLACE INTO file_hash VALUES (?,?,?,?,?)", values)

    def reading(self, identity: str) -> ReadingRecord | None:
        """The last reading of a source under this identity."""
        query = f"SELECT crc, {RECORD_COLUMNS['reading']} FROM reading WHERE identity = ?"
        with self._errors(), self._lock:
            row = self._base.execute(query, (identity,)).fetchone()
        return None if row is None or not is_record(row) else ReadingRecord(*row[1:])

    def remember_reading(self, record: ReadingRecord) -> None:
        """Remember a reading in place of the one before; of too many the oldest go."""
        with self._transaction() as base:
            base.execute(
                "INSERT OR REPLACE INTO reading (identity, stamp, snapshot, told, crc) VALUES (?,?,?,?,?)",
                (*attrs.astuple(record), record_crc(attrs.astuple(record))),
            )
            base.execute("DELETE FROM reading WHERE number <= (SELECT MAX(number) FROM reading) - ?", (_MOST_READINGS,))

    def problems(self) -> list[str]:
        """What SQLite's own integrity check finds."""
        with self._errors(), self._lock:
            found = [text for (text,) in self._base.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _select(self, keys: Iterable[bytes]) -> Iterator[Sequence[Any]]:
        """The sound answers of these keys."""
        for part in _batches(keys):
            marks = ",".join("?" * len(part))
            # Not held while the rows are looked at: an error there would leave the others waiting for ever.
            with self._errors(), self._lock:
                query = f"SELECT number, {_COLUMNS} FROM answer WHERE key IN ({marks})"
                rows = self._base.execute(query, part).fetchall()
            bad = [(number, stored) for number, *stored in rows if not is_sound(stored)]
            self._take_out(bad)
            gone = {number for number, _ in bad}
            yield from (stored for number, *stored in rows if number not in gone)

    def _take_out(self, bad: Sequence[tuple[int, Sequence[Any]]]) -> None:
        """Remove damaged answers, by their numbers, so that sound ones can take their places."""
        if not bad:
            return
        with self._transaction() as base:
            base.executemany("DELETE FROM answer WHERE number = ?", [(number,) for number, _ in bad])
            # Where it was the key that changed, the index still has the one that was.
            base.execute("REINDEX answer")
        self.damaged += [f"the answer of step {stored[2]!r} for image {stored[1]!r} is damaged" for _, stored in bad]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors(), self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.Error) -> DatasetError:
        """What SQLite says, in words for whoever runs this."""
        if type(error) is sqlite3.DatabaseError or is_endless(error):
            return damaged_journal(self._path, str(error))
        full = shutil.disk_usage(self._path.parent).free < _PAGE
        return self._cannot(f"the disk is full ({error})" if full else str(error))

    def _cannot(self, why: str) -> DatasetError:
        return DatasetError(f"{self._path}: {why}; what was acknowledged before is kept, run again after mending it")


def _insert_use(base: sqlite3.Connection, use: FolderUse) -> None:
    values = (use.folder, use.step, use.run_id, use.branch, use.snapshot_id, use.used, int(use.is_final))
    query = f"INSERT OR REPLACE INTO folder_use ({USE_COLUMNS}, crc) VALUES (?,?,?,?,?,?,?,?)"
    base.execute(query, (*values, record_crc(values)))


def _insert(base: sqlite3.Connection, rows: Sequence[JournalRow]) -> None:
    values = [(*stored, answer_crc(stored)) for stored in map(_stored, rows)]
    base.executemany(f"INSERT OR IGNORE INTO answer ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", values)
    # Beside the answers, as these go when their step is published.
    still_open = [(row.key, record_crc((row.key,))) for row in rows if row.counts.get(UNANSWERED)]
    if still_open:
        base.executemany("INSERT OR IGNORE INTO open_answer (key, crc) VALUES (?,?)", still_open)


def _stored(row: JournalRow) -> tuple[Any, ...]:
    return (
        row.key,
        row.image_id,
        row.step,
        row.edit,
        json.dumps(row.calls) if row.calls else _NO_CALLS,
        row.run,
        json.dumps(dict(row.counts)) if row.counts else _NO_COUNTS,
        row.parent_key,
    )


def _row(stored: Sequence[Any]) -> JournalRow:
    key, image_id, step, edit, calls, run, counts, parent_key, _ = stored
    # Most answers used no call and left nothing out; publishing reads very many.
    call_ids = () if calls == _NO_CALLS else tuple(json.loads(calls))
    return JournalRow(
        key=key,
        image_id=image_id,
        step=step,
        edit=edit,
        calls=call_ids,
        run=run,
        counts={} if counts == _NO_COUNTS else json.loads(counts),
        parent_key=parent_key,
    )


def _batches(keys: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    remaining = iter(keys)
    while part := tuple(islice(remaining, _BATCH)):
        yield part
