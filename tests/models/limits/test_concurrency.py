"""Concurrency and rates, decided on a virtual clock: the same in every run, whatever the machine does."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.virtual import Server, VirtualLoop, run_virtual, work_off

from sgforge.models.errors import ModelError
from sgforge.models.limits.concurrency import Gate


def test_concurrency_grows_to_its_maximum_without_a_429() -> None:
    async def work() -> tuple[int, int]:
        gate, server = Gate(200), Server()
        await work_off(gate, server, 2000)
        return server.peak, gate.episodes

    assert run_virtual(work()) == (200, 0)


def test_never_more_than_the_maximum_at_one_time() -> None:
    async def work() -> int:
        server = Server()
        await work_off(Gate(7), server, 100)
        return server.peak

    assert run_virtual(work()) == 7


@pytest.mark.parametrize("phase", [0.0, 0.1, 0.2, 0.3, 0.37, 0.44, 0.52, 0.6, 0.68, 0.75, 0.83, 0.9, 0.97])
def test_a_window_limit_is_found_with_few_refusals(phase: float) -> None:
    """50 requests a second, Retry-After 1, 400 items: at most 10 s and 1.3 requests an item, wherever in the server's
    window the run begins. (Ideal: 8 s.)"""

    async def work() -> tuple[float, int, int]:
        server = Server(limit=50)
        seconds, tries = await work_off(Gate(100), server, 400)
        return seconds, server.received, len(tries)

    seconds, received, done = run_virtual(work(), start=phase)
    assert done == 400
    assert seconds <= 10.0
    assert received <= 1.3 * 400


def test_one_cut_per_episode() -> None:
    async def work() -> tuple[float, int]:
        gate = Gate(64, start=64)
        tickets = [await gate.acquire(1) for _ in range(64)]
        for ticket in tickets:
            gate.throttled(ticket, 2.0)
            gate.release(ticket)
        return gate.limit, gate.episodes

    limit, episodes = run_virtual(work())
    assert episodes == 1
    assert limit == pytest.approx(64 * 0.7)


def test_however_often_a_server_refuses_one_call_at_a_time_is_still_tried() -> None:
    async def work() -> float:
        gate = Gate(2)
        for _ in range(12):
            ticket = await asyncio.wait_for(gate.acquire(1), 3600)
            gate.throttled(ticket, 1.0)
            gate.release(ticket)
        return gate.limit

    assert run_virtual(work()) >= 1.0


def test_nothing_starts_before_retry_after_and_no_slot_is_held_meanwhile() -> None:
    async def work() -> tuple[int, float]:
        gate = Gate(10)
        ticket = await gate.acquire(1)
        gate.throttled(ticket, 5.0)
        gate.release(ticket)
        held = gate.in_flight
        await gate.acquire(1)
        return held, asyncio.get_running_loop().time()

    held, at = run_virtual(work())
    assert held == 0
    assert 5.0 <= at < 5.1


def test_retries_go_first() -> None:
    async def work() -> list[str]:
        gate, order = Gate(1), []

        async def one(name: str, front: bool) -> None:
            ticket = await gate.acquire(1, front)
            order.append(name)
            gate.release(ticket)

        first = await gate.acquire(1)
        tasks = [asyncio.create_task(one(name, front)) for name, front in (("a", False), ("b", False), ("r", True))]
        await asyncio.sleep(0.01)
        gate.release(first)
        await asyncio.gather(*tasks)
        return order

    assert run_virtual(work()) == ["r", "a", "b"]


def test_a_server_limited_by_concurrency_is_not_hammered() -> None:
    async def work() -> tuple[int, int]:
        server = Server(most_in_flight=20, retry_after=None)
        _, tries = await work_off(Gate(400), server, 2000)
        return server.received, len(tries)

    received, done = run_virtual(work())
    assert done == 2000
    assert received <= 1.1 * 2000


@given(per_minute=st.floats(0.5, 2000), burst=st.integers(1, 150))
@settings(max_examples=40, deadline=None)
def test_no_minute_holds_more_requests_than_the_limit(per_minute: float, burst: int) -> None:
    sent: list[float] = []

    async def work() -> None:
        gate = Gate(1000, requests_per_minute=per_minute, start=1000)
        for _ in range(burst):
            gate.release(await gate.acquire(1))
            sent.append(asyncio.get_running_loop().time())

    run_virtual(work())
    for begin in range(len(sent)):
        inside = sum(sent[begin] <= at < sent[begin] + 60.0 - 1e-6 for at in sent)
        assert inside <= max(1, per_minute)


@given(uses=st.lists(st.tuples(st.integers(1, 900), st.integers(0, 900)), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_no_minute_holds_more_tokens_than_the_limit(uses: list[tuple[int, int]]) -> None:
    """Tokens count as assumed while a call is under way, and as really used (never more) after it."""
    sent: list[tuple[float, int]] = []

    async def work() -> None:
        gate = Gate(1000, tokens_per_minute=1000, start=1000)
        for assumed, used in uses:
            ticket = await gate.acquire(assumed)
            sent.append((asyncio.get_running_loop().time(), min(used, assumed)))
            gate.spent(ticket, min(used, assumed))
            gate.release(ticket)

    run_virtual(work())
    for begin, _ in sent:
        assert sum(tokens for at, tokens in sent if begin <= at < begin + 60.0 - 1e-6) <= 1000


def test_a_request_over_the_token_limit_is_refused_not_queued_for_ever() -> None:
    async def work() -> None:
        await Gate(10, tokens_per_minute=1000).acquire(1001)

    with pytest.raises(ModelError, match="too_many_tokens"):
        run_virtual(work())


def test_refusals_by_chance_do_not_slow_the_run_down() -> None:
    """3 % of calls are refused whatever the rate: most calls sent after a refused one get through."""

    async def work() -> tuple[float, float]:
        gate, chance = Gate(50), random.Random(5)
        begun = asyncio.get_running_loop().time()

        async def one() -> None:
            refused = True
            while refused:
                ticket = await gate.acquire(1, front=False)
                refused = chance.random() < 0.03
                await asyncio.sleep(0.01 if refused else 0.2)
                if refused:
                    gate.throttled(ticket, 0.05)
                else:
                    gate.succeeded()
                gate.release(ticket)

        await asyncio.gather(*(one() for _ in range(2000)))
        return asyncio.get_running_loop().time() - begun, gate.limit

    seconds, limit = run_virtual(work())
    assert limit >= 4
    assert seconds < 100  # 8 s at best; a pace that fell with every refusal would need many minutes


def test_cancelling_a_waiter_loses_no_slot() -> None:
    async def work() -> int:
        gate = Gate(1)
        held = await gate.acquire(1)
        waiting = [asyncio.create_task(gate.acquire(1)) for _ in range(5)]
        await asyncio.sleep(0.01)
        for task in waiting[:3]:
            task.cancel()
        gate.release(held)
        waiting[3].cancel()  # granted, but not yet taken up
        gate.release(await waiting[4])
        return gate.in_flight

    assert run_virtual(work()) == 0


def test_calls_that_were_let_in_and_given_up_do_not_raise_the_pace() -> None:
    """A hundred were let in within the window before the refusal, ten of them went out: ten is what the server took."""

    async def work() -> float:
        gate = Gate(200, start=200)
        for number in range(100):
            ticket = await gate.acquire(1)
            if number < 10:
                gate.sending(ticket)
            gate.release(ticket)
        refused = await gate.acquire(1)
        gate.sending(refused)
        gate.throttled(refused, 1.0)
        gate.release(refused)
        await gate.acquire(1)
        pace = gate._throttle.pace
        assert pace is not None
        return pace.rate

    assert run_virtual(work()) == pytest.approx(10 * 0.97)


def test_a_slot_that_is_left_unused_gives_its_tokens_back() -> None:
    async def work() -> float:
        gate = Gate(10, tokens_per_minute=1000)
        async with gate.slot(900):
            pass
        async with gate.slot(900) as ticket:
            gate.sending(ticket)
        at = asyncio.get_running_loop().time()
        await gate.acquire(900)
        return asyncio.get_running_loop().time() - at

    assert 59.0 < run_virtual(work()) < 61.0


def test_server_trouble_freezes_growth_and_does_not_cut() -> None:
    async def work() -> tuple[float, float]:
        gate = Gate(100, start=10)
        before = gate.limit
        tickets = [await gate.acquire(1) for _ in range(10)]
        gate.struggled()
        for ticket in tickets:
            gate.succeeded()
            gate.release(ticket)
        return before, gate.limit

    before, after = run_virtual(work())
    assert before == after == 10


def test_the_virtual_clock_says_when_all_are_stuck() -> None:
    with pytest.raises(RuntimeError, match="stuck"):
        VirtualLoop().run_until_complete(asyncio.Event().wait())
