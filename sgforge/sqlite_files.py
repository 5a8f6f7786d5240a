"""SQLite files that a stranger may have laid: only plain tables are looked at, and no query goes on for ever.

A view or a trigger in a file runs in whoever opens it; pages that lead to each other in a circle keep a query going; a
rollback journal may name another file, which SQLite then reads and removes. None of our files has any of it.
"""

from __future__ import annotations

import re
import sqlite3
import stat
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final

from sgforge.regular_files import open_regular

__all__ = ["connect", "has_tables", "is_endless", "is_unmade"]

_BESIDE: Final = ("", "-wal", "-shm", "-journal")
_NAMES_ANOTHER: Final = bytes.fromhex("d9d505f920a163d7")
"""The end of a rollback journal that names the journal of several files (SQLite's file format, 3: a super-journal)."""
_STEPS: Final = 200_000
_FREE_STEPS: Final = 1_000_000
_STEPS_A_BYTE: Final = 32
"""Steps of SQLite's machine that a query has: a moment's, and so many for each byte of the file. Reading a row of a
hundred bytes takes some thirty, checking it a hundred."""

_WORD: Final = r'(?:\w+|"\w+")'
_WORDS: Final = rf"\( ?{_WORD}(?: ?, ?{_WORD})* ?\)"
_RULE: Final = (
    rf"not null|primary key(?: autoincrement)?|unique|default (?:-?\d+(?:\.\d+)?|'[^']*'|null)"
    rf"|check ?\( ?{_WORD} ?= ?\d+ ?\)|references {_WORD} ?{_WORDS}"
)
_PART: Final = rf"(?:{_WORD}(?: {_WORD})?(?: (?:{_RULE}))*|(?:primary key|unique) ?{_WORDS})"
_PLAIN: Final = {
    "table": re.compile(rf"create table {_WORD} ?\( ?{_PART}(?: ?, ?{_PART})* ?\)( ?without rowid)?"),
    "index": re.compile(rf"create (?:unique )?index {_WORD} on {_WORD} ?{_WORDS}"),
}
_MOST_OBJECTS: Final = 100
_MOST_SQL: Final = 4000


def connect(path: Path, *, read_only: bool = False, timeout: float = 5.0) -> sqlite3.Connection:
    """An open file, made if it is not there; for threads that take turns, every statement its own transaction.

    What is no file of ours is a `sqlite3.DatabaseError`: a pipe or device, views, triggers, virtual tables.
    `read_only`: nothing can be written, and the folder need not be one that may be written: without a log beside it
    nothing is writing, then the file alone is read, and none is made beside it.
    """
    _check_files(path)
    with ExitStack() as opened:
        if read_only:
            mode = "mode=ro" if path.with_name(path.name + "-wal").exists() else "immutable=1"
            name = f"{path.absolute().as_uri()}?{mode}"
            base = sqlite3.connect(name, uri=True, timeout=timeout, factory=_Connection)
        else:
            base = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=timeout, factory=_Connection
            )
        opened.callback(base.close)
        base.execute("PRAGMA trusted_schema=OFF")
        base.execute("PRAGMA cell_size_check=ON")
        base.bind(path)
        _check_schema(base)
        opened.pop_all()
    return base


def has_tables(path: Path) -> bool:
    """Whether anything was ever kept in a file; not if its first transaction failed (a full disk, a kill)."""
    if not path.exists():
        return False
    try:
        with closing(connect(path, read_only=True)) as base:
            return base.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    except sqlite3.Error:  # told by whoever reads it
        return True


def is_unmade(error: sqlite3.Error) -> bool:
    """Whether a table is not there: the first transaction of its file failed, and nothing was ever kept in it."""
    return str(error).startswith("no such table: ")


def is_endless(error: sqlite3.Error) -> bool:
    """Whether a query was ended that took more steps than the rows of its file could."""
    return isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted"


def _check_files(path: Path) -> None:
    real = Path(path).resolve()
    for ending in _BESIDE:
        file = real.with_name(real.name + ending)
        try:
            mode = file.lstat().st_mode
        except OSError:  # not there; or what SQLite says is told
            continue
        if not stat.S_ISREG(mode):
            raise sqlite3.DatabaseError(f"{file.name} is no regular file")
    with suppress(OSError), open_regular(real.with_name(real.name + "-journal")) as stream:
        if stream.seek(0, 2) >= len(_NAMES_ANOTHER):
            stream.seek(-len(_NAMES_ANOTHER), 2)
            if stream.read() == _NAMES_ANOTHER:
                raise sqlite3.DatabaseError(f"{real.name}-journal names another file")


def _check_schema(base: sqlite3.Connection) -> None:
    """Nothing but tables and indices of columns, as they are made here: what a file defines is run by its reader."""
    cut = f"substr(CAST(sql AS TEXT), 1, {_MOST_SQL})"
    query = f"SELECT type, name, {cut} FROM sqlite_master LIMIT {_MOST_OBJECTS}"
    for kind, name, sql in base.execute(query).fetchall():
        if sql is None and kind == "index" and str(name).startswith("sqlite_autoindex_"):
            continue
        plain = _PLAIN.get(kind)
        text = " ".join(str(sql).lower().split())
        if plain is None or sql is None or not plain.fullmatch(text):
            raise sqlite3.DatabaseError(f"it defines a {kind} {str(name)[:100]!r} that is none of ours")


class _Connection(sqlite3.Connection):
    """Ends a query that takes more steps than all rows of its file could; rows that are given are all taken."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._taken = 0
        self._is_bound = True

    def bind(self, path: Path) -> None:
        """End queries that go on longer than the size of `path` warrants."""

        def look() -> bool:
            self._taken += _STEPS
            return self._is_bound and self._taken > _FREE_STEPS + _STEPS_A_BYTE * _bytes_of(path)

        self.set_progress_handler(look, _STEPS)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self._taken, self._is_bound = 0, True
        try:
            return super().execute(*args)
        except UnicodeDecodeError as error:
            raise _damaged(error) from None

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self._is_bound = False
        return super().executemany(*args)


def _damaged(error: UnicodeDecodeError) -> sqlite3.DatabaseError:
    """What SQLite said of a damaged schema: it repeats the schema's bytes, and `sqlite3` fails where they are no text.

    Only a statement's first step reads the schema; in rows, text that is none is an error of `sqlite3` itself.
    """
    return sqlite3.DatabaseError(error.object[:200].decode("ascii", "backslashreplace"))


def _bytes_of(path: Path) -> int:
    size = 0
    for ending in ("", "-wal"):
        with suppress(OSError):
            size += path.with_name(path.name + ending).stat().st_size
    return size
