"""What can still be read of a damaged SQLite file, in a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sgforge.dataset.states.known_states import connect_to_read

__all__ = ["rebuilt"]


def rebuilt(old: Path, new: Path, without: Iterable[int] = ()) -> int:
    """Copy every row of `old` that can be read into the new file `new`; how many there were.

    `without`: numbers of answers that are left out.

    Of a table with a damaged page the rows before it are read from the front, those behind it from the back.
    """
    rows = 0
    with closing(sqlite3.connect(new, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode=WAL")
        with suppress(sqlite3.Error), closing(connect_to_read(old)) as source:
            for kind, name, sql in source.execute("SELECT type, name, sql FROM sqlite_master ORDER BY rootpage"):
                if sql is None or str(name).startswith("sqlite_"):
                    continue
                with suppress(sqlite3.Error):
                    target.execute(sql)
                    if kind == "table":
                        rows += _copy(source, target, name)
        for number in without:
            rows -= target.execute("DELETE FROM answer WHERE number = ?", (number,)).rowcount
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return rows


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    target.execute("BEGIN")
    before = target.total_changes
    for order in ("ASC", "DESC"):
        insert = ""
        for row in _rows(source, f'SELECT * FROM "{table}" ORDER BY {_first(source, table)} {order}'):
            insert = insert or f'INSERT OR IGNORE INTO "{table}" VALUES ({",".join("?" * len(row))})'
            with suppress(sqlite3.Error):
                target.execute(insert, row)
    target.execute("COMMIT")
    return target.total_changes - before


def _first(source: sqlite3.Connection, table: str) -> str:
    """What the rows of a table lie in the order of."""
    try:
        source.execute(f'SELECT rowid FROM "{table}" LIMIT 0')
    except sqlite3.OperationalError:  # a table without rowids lies in the order of its key
        return "1"
    except sqlite3.Error:
        pass
    return "rowid"


def _rows(source: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query up to the first that cannot be read."""
    with suppress(sqlite3.Error):
        yield from source.execute(query)
