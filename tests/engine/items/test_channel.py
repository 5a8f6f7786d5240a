from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from support.waiting import LONGEST

from sgforge.engine.items.channel import Channel


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
