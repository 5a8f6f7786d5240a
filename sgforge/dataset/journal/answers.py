"""Finished answers, durable before they are acknowledged, until their step is published.

A run keeps its answers through the writer thread of `sgforge.group_commit`, which starts with the first of them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sgforge.dataset.damage import damaged_journal
from sgforge.dataset.journal.file import PAGE, TABLES
from sgforge.dataset.journal.runs import RunJournal
from sgforge.dataset.records import (
    ANSWER_COLUMNS,
    RECORD_COLUMNS,
    JournalRow,
    answer_crc,
    is_record,
    is_sound,
    record_crc,
)
from sgforge.disk_reserve import DiskReserve
from sgforge.durable import sync_folder
from sgforge.edits import UNANSWERED
from sgforge.errors import DatasetError
from sgforge.group_commit import GroupCommit

__all__ = ["Journal"]

_RESERVE: Final = 500_000
"""Bytes held back for answers that are under way when the disk fills: a hundred, of a few kB each."""
_NO_CALLS: Final = "[]"
_NO_COUNTS: Final = "{}"
_COLUMNS: Final = f"{ANSWER_COLUMNS}, crc"
_BATCH: Final = 500
_REMAINING: Final = "FROM answer WHERE key NOT IN (SELECT key FROM temp.forgotten)"
_FEW: Final = 2000
"""As many answers are deleted one by one; more are left behind in a rewritten file, which is far cheaper."""


class Journal(RunJournal):
    """Answers by key, beside what runs remember.

    An answer that is not what was kept, by its checksum, is taken out when it is met, and stands in `damaged`: its
    image is done again. At rest the file has a seal; one that did not fit it on opening is looked through on closing.
    """

    def __init__(self, path: Path, *, look_through: bool = False) -> None:
        """Open or make the file; `look_through`: every row on closing, whatever its seal says."""
        self._fresh = path.with_name(path.name + ".new")
        self._fresh.unlink(missing_ok=True)
        self._reserve = DiskReserve(path, _RESERVE)
        self._reserve.discard()
        self._commits: GroupCommit | None = None
        self.damaged: list[str] = []
        # After what a killed process left is gone: opening may need the space.
        super().__init__(path, look_through=look_through)
        with self._errors():
            self._base.execute("CREATE TEMP TABLE forgotten (key BLOB PRIMARY KEY) WITHOUT ROWID")

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
        self._base.execute(f"PRAGMA fresh.page_size={PAGE}")
        self._base.execute("BEGIN")
        for table, create in TABLES.items():
            self._base.execute(create.format(f"fresh.{table}"))
            chosen = _REMAINING + " ORDER BY number" if table == "answer" else f"FROM {table}"
            self._base.execute(f"INSERT INTO fresh.{table} SELECT * {chosen}")
        self._base.execute("COMMIT")
        self._base.execute("DETACH fresh")
        return True

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
