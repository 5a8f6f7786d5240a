"""The journal's file: one SQLite file with its tables, its seal at rest, its transactions and what its errors mean."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sgforge.dataset.damage import damaged_journal
from sgforge.dataset.records import RECORD_COLUMNS
from sgforge.errors import DatasetError
from sgforge.seals import AtRest
from sgforge.sqlite_files import connect, is_endless

__all__ = ["PAGE", "TABLES", "JournalFile", "sealed_journal"]

TABLES: Final = {
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
PAGE: Final = 8192
"""Bytes of a page: answers are a few kB each."""


def sealed_journal(path: Path) -> Path:
    """The path beside which the seal of a journal lies."""
    return path.parent / "seals" / path.name


class JournalFile:
    """The open file (write-ahead log, every commit synchronous); safe to use from threads."""

    def __init__(self, path: Path, *, look_through: bool = False) -> None:
        """Open or make the file; `look_through`: every row on closing, whatever its seal says."""
        self._path = path
        self._rest = AtRest(path, sealed_journal(path))
        self._rest.is_changed |= look_through
        self._lock = threading.Lock()
        with self._errors(), ExitStack() as opened:
            self._base = connect(path)
            opened.callback(self._base.close)
            for pragma in (
                f"page_size={PAGE}",
                "journal_mode=WAL",
                "synchronous=FULL",
                "busy_timeout=10000",
            ):
                self._base.execute(f"PRAGMA {pragma}")
            for table, create in TABLES.items():
                self._base.execute(create.format(table))
            for table in ("answer", *RECORD_COLUMNS):
                if "crc" not in {name for _, name, *_ in self._base.execute(f"PRAGMA table_info({table})")}:
                    # A file from before its rows had checksums; those in it go on without.
                    self._base.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER")
            opened.pop_all()

    def problems(self) -> list[str]:
        """What SQLite's own integrity check finds."""
        with self._errors(), self._lock:
            found = [text for (text,) in self._base.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _count(self, source: str) -> int:
        return int(self._base.execute(f"SELECT COUNT(*) {source}").fetchone()[0])

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
        full = shutil.disk_usage(self._path.parent).free < PAGE
        return self._cannot(f"the disk is full ({error})" if full else str(error))

    def _cannot(self, why: str) -> DatasetError:
        return DatasetError(f"{self._path}: {why}; what was acknowledged before is kept, run again after mending it")
