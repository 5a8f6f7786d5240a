"""One writer thread: what gathers meanwhile is committed together, and nothing is told that is not on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.opened import started_threads
from support.waiting import LONGEST

from sgforge.group_commit import GroupCommit


class NoRoomError(Exception):
    pass


class RefusedError(Exception):
    pass


class Room:
    """A reserve that lets a file of limited pages grow by some more."""

    def __init__(self, connection: sqlite3.Connection, more: int = 0) -> None:
        self.connection = connection
        self.more = more
        self.spent = 0

    def spend(self) -> None:
        self.spent += 1
        pages = self.connection.execute("PRAGMA max_page_count").fetchone()[0]
        if self.spent == 1:
            self.connection.execute(f"PRAGMA max_page_count={pages + self.more}")


class File:
    """A table of texts, written through a `GroupCommit`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("CREATE TABLE name (text TEXT PRIMARY KEY)")
        self.statements: list[str] = []
        self.connection.set_trace_callback(self.statements.append)
        self.room = Room(self.connection)
        self.commits = GroupCommit(
            self.connection, "commits", self.room, lambda error: NoRoomError(str(error)), refusals=(RefusedError,)
        )

    def close(self) -> None:
        self.commits.close()
        self.connection.close()

    def names(self) -> list[str]:
        """What another process would find."""
        with sqlite3.connect(self.path) as other:
            return sorted(text for (text,) in other.execute("SELECT text FROM name"))

    @property
    def transactions(self) -> int:
        return self.statements.count("COMMIT")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    opened = File(tmp_path / "names.sqlite")
    yield opened
    opened.close()


def add(name: str) -> Callable[[sqlite3.Connection], str]:
    def operation(base: sqlite3.Connection) -> str:
        base.execute("INSERT INTO name VALUES (?)", (name,))
        return name

    return operation


class Held:
    """An operation that waits within its transaction until it is let go."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, base: sqlite3.Connection) -> None:
        self.begun.set()
        assert self.may_end.wait(LONGEST)


async def begun(held: Held, file: File) -> asyncio.Task[None]:
    task = asyncio.create_task(file.commits.write(held))
    assert await asyncio.to_thread(held.begun.wait, LONGEST)
    return task


def test_what_comes_during_a_transaction_shares_the_next_one(file: File) -> None:
    async def scenario() -> list[str]:
        held = Held()
        first = await begun(held, file)
        others = [asyncio.create_task(file.commits.write(add(name))) for name in "bcd"]
        await asyncio.sleep(0)  # each has begun
        held.may_end.set()
        await first
        return await asyncio.gather(*others)

    assert asyncio.run(scenario()) == ["b", "c", "d"]
    assert file.names() == ["b", "c", "d"]
    assert file.transactions == 2


def test_whoever_is_told_finds_it_in_the_file(file: File) -> None:
    async def one(number: int) -> None:
        await file.commits.write(add(f"{number}"))
        assert f"{number}" in file.names()

    async def scenario() -> None:
        await asyncio.gather(*(one(number) for number in range(40)))

    asyncio.run(scenario())
    assert len(file.names()) == 40


def test_a_fault_of_one_takes_no_other_with_it(file: File) -> None:
    def refused(base: sqlite3.Connection) -> None:
        raise RefusedError

    async def scenario() -> list[object]:
        held = Held()
        first = await begun(held, file)
        given = (add("a"), add("a"), refused, lambda base: base.execute("nonsense"), add("b"))
        others = [asyncio.create_task(file.commits.write(one)) for one in given]
        await asyncio.sleep(0)
        held.may_end.set()
        await first
        return [type(one) for one in await asyncio.gather(*others, return_exceptions=True)]

    assert asyncio.run(scenario()) == [str, sqlite3.IntegrityError, RefusedError, sqlite3.OperationalError, str]
    assert file.names() == ["a", "b"]
    assert not file.commits.is_full


def test_a_refusal_alone_costs_the_others_no_transaction(file: File) -> None:
    def refused(base: sqlite3.Connection) -> None:
        raise RefusedError

    async def scenario() -> None:
        held = Held()
        first = await begun(held, file)
        others = [asyncio.create_task(file.commits.write(one)) for one in (add("a"), refused, add("b"))]
        await asyncio.sleep(0)
        held.may_end.set()
        await asyncio.gather(first, *others, return_exceptions=True)

    asyncio.run(scenario())
    assert file.names() == ["a", "b"]
    assert file.transactions == 2


def test_who_no_longer_waits_takes_nothing_with_it(file: File) -> None:
    async def scenario() -> None:
        held = Held()
        first = await begun(held, file)
        gone, waiting = (asyncio.create_task(file.commits.write(add(name))) for name in "ab")
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        held.may_end.set()
        await asyncio.gather(first, waiting)

    asyncio.run(scenario())
    assert file.names() == ["a", "b"]


def test_what_is_posted_is_done_after_what_came_before_it_and_before_the_end(tmp_path: Path) -> None:
    started = started_threads()
    file = File(tmp_path / "names.sqlite")

    async def scenario() -> None:
        await file.commits.write(add("a"))
        file.commits.post(lambda base: base.execute("UPDATE name SET text = text || '!'"))
        file.commits.post(add("b"))

    asyncio.run(scenario())
    file.close()
    assert file.names() == ["a!", "b"]
    assert started("commits") == []


def fill(file: File) -> None:
    """Leave no page free: what has to grow the file finds the disk full."""
    pages = file.connection.execute("PRAGMA page_count").fetchone()[0]
    file.connection.execute(f"PRAGMA max_page_count={pages}")


def long(name: str) -> str:
    return name * 20_000


def test_on_a_full_disk_what_is_under_way_is_kept_in_the_reserve(file: File) -> None:
    file.room.more = 40

    async def scenario() -> list[str]:
        held = Held()
        first = await begun(held, file)
        others = [asyncio.create_task(file.commits.write(add(long(name)))) for name in "abc"]
        await asyncio.sleep(0)
        held.may_end.set()
        await first
        return await asyncio.gather(*others)

    fill(file)
    assert asyncio.run(scenario()) == [long("a"), long("b"), long("c")]
    assert file.names() == [long("a"), long("b"), long("c")]
    assert file.commits.is_full


def test_what_finds_no_place_even_there_is_told_so_and_nothing_else_is(file: File) -> None:
    file.room.more = 12  # two texts of five pages, and the table's own

    async def scenario() -> list[object]:
        held = Held()
        first = await begun(held, file)
        others = [asyncio.create_task(file.commits.write(add(long(name)))) for name in "abcd"]
        await asyncio.sleep(0)
        held.may_end.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    fill(file)
    told = asyncio.run(scenario())
    kept = [one for one in told if isinstance(one, str)]
    assert file.names() == kept
    assert 0 < len(kept) < 4
    assert {type(one) for one in told if not isinstance(one, str)} == {NoRoomError}
    assert "full" in str(next(one for one in told if isinstance(one, NoRoomError)))
    assert file.commits.is_full
