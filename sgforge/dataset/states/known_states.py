"""KnownWork: what a dataset knows already, looked up without writing a byte or keeping a writer waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from sgforge.dataset.damage import damaged_journal
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.in_use import Hold
from sgforge.dataset.records import ANSWER_COLUMNS, RECORD_COLUMNS, ReadingRecord, is_record, is_sound
from sgforge.dataset.states.state_index import StateIndex
from sgforge.errors import DatasetError
from sgforge.sqlite_files import connect, is_unmade

__all__ = ["KnownWork", "answer_columns", "ask_journal", "connect_to_read", "damaged_records", "has_table"]

T = TypeVar("T")

_BATCH: Final = 500


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, also to a file in a folder without the right to write."""
    return connect(path, read_only=True)


def answer_columns(base: sqlite3.Connection) -> str:
    """The columns of an answer and its checksum, which is null in a file that no run has opened since there is one."""
    has_crc = "crc" in {name for _, name, *_ in base.execute("PRAGMA table_info(answer)")}
    return f"{ANSWER_COLUMNS}, {'crc' if has_crc else 'NULL'}"


def ask_journal(path: Path, question: Callable[[sqlite3.Connection], T], unknown: T) -> T:
    """What a question to a journal gives, which is opened without the right to write; `unknown` where there is none."""
    if not path.exists():
        return unknown
    try:
        return _once(path, question)
    except sqlite3.Error:
        pass  # a run may have begun or ended just now: how to open the file is then another
    try:
        return _once(path, question)
    except sqlite3.OperationalError as error:
        if is_unmade(error):
            return unknown
        raise DatasetError(f"{path} cannot be read: {error}; sgforge verify says more") from error
    except sqlite3.DatabaseError as error:
        raise damaged_journal(path, str(error)) from error


def _once(path: Path, question: Callable[[sqlite3.Connection], T]) -> T:
    with closing(connect_to_read(path)) as base:
        return question(base)


def has_table(base: sqlite3.Connection, name: str) -> bool:
    """Whether a journal has this table: one that no run has opened to write since the table came has it not."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return base.execute(query, (name,)).fetchone() is not None


def _record_columns(base: sqlite3.Connection, table: str) -> str:
    """The checksum of a row beside the answers, which is null where there is none yet, and its columns."""
    has_crc = "crc" in {name for _, name, *_ in base.execute(f"PRAGMA table_info({table})")}
    return f"{'crc' if has_crc else 'NULL'}, {RECORD_COLUMNS[table]}"


def damaged_records(base: sqlite3.Connection) -> list[str]:
    """Rows of a journal beside its answers that are not what was kept, by their checksums."""
    return [
        f"journal: a record of table {table} is damaged: its checksum does not fit"
        for table in RECORD_COLUMNS
        if has_table(base, table)
        for row in base.execute(f"SELECT {_record_columns(base, table)} FROM {table}")
        if not is_record(row)
    ]


class KnownWork:
    """States, journalled answers and file hashes of a dataset; works on a read-only folder and while a run goes on.

    Each question opens the journal anew, so that a run that began or ended in between is seen as it is.
    """

    def __init__(self, folder: DatasetFolder) -> None:
        self._folder = folder
        # As long as somebody has this, `sgforge gc` takes nothing away.
        self._hold = Hold.shared(folder.snapshots) if folder.snapshots.is_dir() else None
        self.states = StateIndex(folder)

    @classmethod
    def open(cls, path: Path | str) -> KnownWork:
        """What the dataset at `path` knows; no dataset is a `DatasetError`."""
        return cls(DatasetFolder.open(path))

    @property
    def path(self) -> Path:
        """The dataset's folder."""
        return self._folder.path

    def answered(self, keys: Iterable[bytes]) -> set[bytes]:
        """Which of these keys have an answer that no snapshot has yet."""
        wanted = list(keys)

        def ask(base: sqlite3.Connection) -> set[bytes]:
            found: set[bytes] = set()
            columns = answer_columns(base)
            remaining = iter(wanted)
            while part := tuple(islice(remaining, _BATCH)):
                marks = ",".join("?" * len(part))
                rows = base.execute(f"SELECT {columns} FROM answer WHERE key IN ({marks})", part)
                found.update(stored[0] for stored in rows if is_sound(stored))
            return found

        return self._ask(ask, set())

    def open_answers(self) -> frozenset[bytes]:
        """The keys of answers that left questions without an answer."""

        def ask(base: sqlite3.Connection) -> frozenset[bytes]:
            if not has_table(base, "open_answer"):
                return frozenset()
            return frozenset(key for (key,) in base.execute("SELECT key FROM open_answer"))

        return self._ask(ask, frozenset())

    def hashes(self, files: Sequence[tuple[str, int, int]]) -> list[str | None]:
        """The remembered sha256 of files given as (uri, size, mtime_ns); None where it is not known."""
        where = "WHERE uri = ? AND size = ? AND mtime_ns = ?"

        def ask(base: sqlite3.Connection) -> list[str | None]:
            query = f"SELECT {_record_columns(base, 'file_hash')} FROM file_hash {where}"
            rows = (base.execute(query, file).fetchone() for file in files)
            return [row[-1] if row and is_record(row) else None for row in rows]

        return self._ask(ask, [None] * len(files))

    def reading(self, identity: str) -> ReadingRecord | None:
        """The last reading of a source under this identity."""

        def ask(base: sqlite3.Connection) -> ReadingRecord | None:
            if not has_table(base, "reading"):
                return None
            query = f"SELECT {_record_columns(base, 'reading')} FROM reading WHERE identity = ?"
            row = base.execute(query, (identity,)).fetchone()
            return None if row is None or not is_record(row) else ReadingRecord(*row[1:])

        return self._ask(ask, None)

    def _ask(self, question: Callable[[sqlite3.Connection], T], unknown: T) -> T:
        return ask_journal(self._folder.journal, question, unknown)
