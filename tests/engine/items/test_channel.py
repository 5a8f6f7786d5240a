from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import LONGEST

from sgforge.engine.items.channel import Channel
from sgforge.engine.items.group_commit import Committer


def test_items_come_out_in_the_order_they_went_in():
    async def scenario():
        channel: Channel[int] = Channel(4)

        async def feed():
            for start in range(0, 100, 10):
                await channel.put(list(range(start, start + 10)))
            channel.close()

        feeding = asyncio.create_task(feed())
        seen = []
        while taken := await channel.get(3):
            assert len(taken) <= 3
            seen.extend(taken)
        await feeding
        return seen

    assert asyncio.run(scenario()) == list(range(100))


def test_putting_waits_while_the_channel_is_full():
    async def scenario():
        channel: Channel[int] = Channel(2)
        await channel.put([1, 2])
        waiting = asyncio.create_task(channel.put([3]))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert await channel.get(1) == [1]
        await waiting
        return len(channel)

    assert asyncio.run(scenario()) == 2


def test_getting_waits_for_a_full_batch_but_not_for_ever():
    async def scenario():
        channel: Channel[int] = Channel(10)
        await channel.put([1])
        asyncio.get_running_loop().call_later(0.005, lambda: asyncio.ensure_future(channel.put([2])))
        full = await channel.get(2, patience=LONGEST)
        await channel.put([3])
        short = await channel.get(2, patience=0.01)
        return full, short

    assert asyncio.run(scenario()) == ([1, 2], [3])


def test_closing_ends_those_who_wait_and_discarding_drops_what_is_there():
    async def scenario():
        channel: Channel[int] = Channel(1)
        getter = asyncio.create_task(channel.get(1))
        await asyncio.sleep(0)
        channel.close()
        assert await getter == []
        other: Channel[int] = Channel(1)
        await other.put([1])
        putter = asyncio.create_task(other.put([2]))
        await asyncio.sleep(0)
        other.close(discard=True)
        await putter
        return await other.get(1)

    assert asyncio.run(scenario()) == []


@given(
    st.lists(st.lists(st.integers(), max_size=7), max_size=20),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_no_item_is_lost_or_doubled_between_many_putters_and_getters(batches, capacity, getters, most):
    async def scenario():
        channel: Channel[int] = Channel(capacity)
        seen: list[int] = []

        async def drain():
            while taken := await channel.get(most):
                seen.extend(taken)

        draining = [asyncio.create_task(drain()) for _ in range(getters)]
        await asyncio.gather(*(channel.put(batch) for batch in batches))
        channel.close()
        await asyncio.wait_for(asyncio.gather(*draining), LONGEST)
        return seen

    assert sorted(asyncio.run(scenario())) == sorted(item for batch in batches for item in batch)


def test_a_cancelled_getter_does_not_swallow_an_item():
    async def scenario():
        channel: Channel[int] = Channel(4)
        first = asyncio.create_task(channel.get(1))
        second = asyncio.create_task(channel.get(1))
        await asyncio.sleep(0)
        await channel.put([7])
        first.cancel()
        return await asyncio.wait_for(second, LONGEST)

    assert asyncio.run(scenario()) == [7]


def test_rows_that_come_during_a_transaction_share_the_next_one():
    written = []

    async def scenario():
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def put(rows):
            written.append(list(rows))
            begun.set()
            await may_end.wait()

        committer = Committer(put)
        first = asyncio.create_task(committer.commit(["a"]))
        await begun.wait()
        others = [asyncio.create_task(committer.commit([name])) for name in "bcd"]
        await asyncio.sleep(0)  # each has begun
        may_end.set()
        await asyncio.gather(first, *others)

    asyncio.run(scenario())
    assert written == [["a"], ["b", "c", "d"]]


def test_nobody_is_told_of_success_when_the_journal_fails():
    async def put(rows):
        raise OSError("disk full")

    async def scenario():
        committer = Committer(put)
        return await asyncio.gather(committer.commit(["a"]), committer.commit(["b"]), return_exceptions=True)

    assert [type(result) for result in asyncio.run(scenario())] == [OSError, OSError]


def test_a_commit_returns_only_after_its_own_rows_are_written():
    durable: set[str] = set()

    async def put(rows):
        await asyncio.sleep(0.002)
        durable.update(rows)

    async def one(committer, name, delay):
        await asyncio.sleep(delay)
        await committer.commit([name])
        assert name in durable

    async def scenario():
        committer = Committer(put)
        await asyncio.gather(*(one(committer, f"row {n}", n * 0.0005) for n in range(40)))

    asyncio.run(scenario())
    assert len(durable) == 40


def test_after_a_failure_the_next_rows_are_written():
    failures, written = [OSError("disk full")], []

    async def put(rows):
        if failures:
            raise failures.pop()
        written.append(list(rows))

    async def scenario():
        committer = Committer(put)
        with pytest.raises(OSError, match="disk full"):
            await committer.commit(["a"])
        await committer.commit(["b"])
        await committer.commit([])

    asyncio.run(scenario())
    assert written == [["b"]]


def test_who_no_longer_waits_takes_no_row_with_it():
    written = []

    async def scenario():
        may_write = asyncio.Event()

        async def put(rows):
            await may_write.wait()
            written.append(list(rows))

        committer = Committer(put)
        gone, waiting = (asyncio.create_task(committer.commit([name])) for name in "ab")
        await asyncio.sleep(0)  # each has begun
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        may_write.set()
        await waiting

    asyncio.run(scenario())
    assert written == [["a", "b"]]
