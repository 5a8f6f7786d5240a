"""The responses file: grouped durable commits, errors that concern one operation only, versions."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from models.support import run
from support.opened import open_below, started_threads

from sgforge.errors import DatasetError
from sgforge.models.cache.store import Store
from sgforge.models.errors import ModelError


def test_what_was_acknowledged_is_in_the_file(tmp_path: Path) -> None:
    async def work() -> None:
        with Store(tmp_path / "r.sqlite") as store:
            for number in range(50):
                await store.write(lambda db, n=number: db.execute("INSERT INTO meta VALUES (?, '')", (f"k{n}",)))
                with sqlite3.connect(tmp_path / "r.sqlite") as other:
                    assert other.execute("SELECT COUNT(*) FROM meta WHERE name = ?", (f"k{number}",)).fetchone() == (1,)

    run(work())


def test_an_operation_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    def good(number: int) -> object:
        return lambda db: db.execute("INSERT INTO meta VALUES (?, '')", (f"k{number}",)).rowcount

    def broken(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('half', '')")
        db.execute("INSERT INTO nowhere VALUES (1)")

    def refused(db: sqlite3.Connection) -> None:
        raise ModelError("no", "not now")

    def wrong(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('half', '')")
        raise TypeError("a bug")

    async def work() -> list[object]:
        with Store(tmp_path / "r.sqlite") as store:
            operations = [good(1), broken, good(2), refused, wrong, good(3), broken]
            results = await asyncio.gather(*(store.write(one) for one in operations), return_exceptions=True)
            names = {row[0] for row in store.read("SELECT name FROM meta")}
            assert {"k1", "k2", "k3"} <= names
            assert "half" not in names
            return results

    results = run(work())
    assert [type(result) for result in results] == [
        *(int, sqlite3.OperationalError, int, ModelError, TypeError, int, sqlite3.OperationalError)
    ]


def test_a_file_of_another_version_or_another_kind_is_refused(tmp_path: Path) -> None:
    started = started_threads()
    path = tmp_path / "r.sqlite"
    Store(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET value = '999' WHERE name = 'version'")
    with pytest.raises(DatasetError, match="version 999"):
        Store(path)
    (tmp_path / "text").write_text("not a database at all, but long enough to have a header" * 10)
    with pytest.raises(DatasetError, match="text"):
        Store(tmp_path / "text")
    assert open_below(tmp_path) == []
    assert started("sgforge-responses") == []


def test_a_loop_that_has_ended_does_not_end_the_writer(tmp_path: Path) -> None:
    """The caller is gone when its operation is committed; the next caller is served all the same."""
    begun, may_end = threading.Event(), threading.Event()

    def slow(db: sqlite3.Connection) -> None:
        begun.set()
        may_end.wait()

    async def leave(store: Store) -> None:
        task = asyncio.create_task(store.write(slow))
        await asyncio.to_thread(begun.wait)
        task.cancel()

    with Store(tmp_path / "r.sqlite") as store:
        run(leave(store))
        may_end.set()
        assert run(store.write(lambda db: 7)) == 7


def test_two_processes_may_write_one_file(tmp_path: Path) -> None:
    async def work() -> int:
        with Store(tmp_path / "r.sqlite") as one, Store(tmp_path / "r.sqlite") as two:
            await asyncio.gather(
                *(
                    store.write(
                        lambda db, n=number, s=side: db.execute("INSERT INTO meta VALUES (?, '')", (f"{s}{n}",))
                    )
                    for number in range(200)
                    for side, store in (("a", one), ("b", two))
                )
            )
            return int(one.read("SELECT COUNT(*) FROM meta WHERE value = ''")[0][0])

    assert run(work()) == 400
