"""Equal requests at one time are one call, whoever of them gives up."""

from __future__ import annotations

import asyncio

import pytest

from sgforge.models.cache.single_flight import SingleFlight


class Work:
    """Work that ends when it is let; how often it was begun, and by whom."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.let = asyncio.Event()
        self.error: Exception | None = None

    def by(self, name: str):
        async def work() -> str:
            self.begun.append(name)
            await self.let.wait()
            if self.error is not None:
                raise self.error
            return f"of {name}"

        return work


async def turn() -> None:
    """Let every task go on until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_equal_keys_share_one_work_and_others_do_their_own():
    async def run() -> None:
        flights, work = SingleFlight[str](), Work()
        names = {"first": b"k", "second": b"k", "third": b"k", "other": b"l"}
        tasks = [asyncio.create_task(flights.run(key, work.by(name))) for name, key in names.items()]
        await turn()
        assert work.begun == ["first", "other"]
        assert len(flights.flying) == 2
        work.let.set()
        assert await asyncio.gather(*tasks) == [
            ("of first", False),
            ("of first", True),
            ("of first", True),
            ("of other", False),
        ]
        assert flights.flying == []

    asyncio.run(run())


def test_a_key_that_has_landed_is_worked_on_anew():
    """What was found is the cache's to keep, not the flight's."""

    async def run() -> None:
        flights, work = SingleFlight[str](), Work()
        work.let.set()
        assert await flights.run(b"k", work.by("first")) == ("of first", False)
        assert await flights.run(b"k", work.by("second")) == ("of second", False)

    asyncio.run(run())


def test_an_error_is_everybodys_and_the_next_tries_again():
    async def run() -> None:
        flights, work = SingleFlight[str](), Work()
        work.error = ValueError("no")
        tasks = [asyncio.create_task(flights.run(b"k", work.by(name))) for name in ("first", "second")]
        await turn()
        work.let.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(error) for error in found if isinstance(error, ValueError)] == ["no", "no"]
        assert work.begun == ["first"]
        work.error = None
        assert await flights.run(b"k", work.by("third")) == ("of third", False)

    asyncio.run(run())


def test_when_the_one_that_works_gives_up_one_of_those_who_wait_takes_over():
    async def run() -> None:
        flights, work = SingleFlight[str](), Work()
        first, second, third = (
            asyncio.create_task(flights.run(b"k", work.by(name))) for name in ("first", "second", "third")
        )
        await turn()
        first.cancel()
        await turn()
        assert work.begun == ["first", "second"]
        work.let.set()
        assert await second == ("of second", False)
        assert await third == ("of second", True)
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(run())


def test_one_that_waits_and_gives_up_takes_nobody_along():
    async def run() -> None:
        flights, work = SingleFlight[str](), Work()
        first, second = (asyncio.create_task(flights.run(b"k", work.by(name))) for name in ("first", "second"))
        await turn()
        second.cancel()
        await turn()
        work.let.set()
        assert await first == ("of first", False)
        assert work.begun == ["first"]
        assert second.cancelled()

    asyncio.run(run())


def test_all_cancelled_at_once_begin_nothing_more():
    """As a task group does that fails: who waits must not take over what nobody wants any more."""

    async def run() -> None:
        flights, work = SingleFlight[str](), Work()
        tasks = [asyncio.create_task(flights.run(b"k", work.by(name))) for name in ("first", "second", "third")]
        await turn()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        assert work.begun == ["first"]
        assert flights.flying == []

    asyncio.run(run())
