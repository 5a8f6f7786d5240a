"""What the journal remembers beside answers: runs, their steps, where those began, what they used, files, readings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from sgforge.dataset.journal.file import JournalFile
from sgforge.dataset.records import (
    RECORD_COLUMNS,
    USE_COLUMNS,
    FolderUse,
    ReadingRecord,
    RunRecord,
    StepRecord,
    is_record,
    record_crc,
    use_of,
)

__all__ = ["FileHash", "RunJournal"]

_MOST_READINGS: Final = 64
"""Readings that are remembered: of each source and limit one, as often as its options change another."""
_MOST_STARTS: Final = 64
"""Snapshots from which steps started that are remembered: an unfinished run is among the last."""


@attrs.frozen
class FileHash:
    """The sha256 of a file as it was with this size and time of change."""

    uri: str
    size: int
    mtime_ns: int
    sha256: str


class RunJournal(JournalFile):
    """Small rows, each with a checksum; one that does not fit it counts as not there."""

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


def _insert_use(base: sqlite3.Connection, use: FolderUse) -> None:
    values = (use.folder, use.step, use.run_id, use.branch, use.snapshot_id, use.used, int(use.is_final))
    query = f"INSERT OR REPLACE INTO folder_use ({USE_COLUMNS}, crc) VALUES (?,?,?,?,?,?,?,?)"
    base.execute(query, (*values, record_crc(values)))
