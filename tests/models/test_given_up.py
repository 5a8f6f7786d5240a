"""A call that its caller gives up, at whatever moment, leaves nothing taken: no money, no slot, no image, no flight."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from models.cancelling import CancelledAt
from models.support import ask, picture, run
from models.toy_provider import ToyProvider, bind, toy_gateway
from support.waiting import LONGEST

from sgforge.models import ChatRequest, Gateway, ModelError
from sgforge.models.errors import BudgetReachedError, NotSentError, ProviderError
from sgforge.models.gateway import BoundModel

SCHEMA = {"type": "object", "required": ["label"]}


async def prompt(text: str, number: int) -> str:
    await asyncio.sleep(0)
    return "fine"


async def slow(text: str, number: int) -> str:
    await asyncio.sleep(0.001)
    return "fine"


async def overloaded_once(text: str, number: int) -> str:
    await asyncio.sleep(0)
    if number == 1:
        raise ProviderError("come later", status=503, retry_after=0.002)
    return "fine"


async def lost_once(text: str, number: int) -> str:
    if number == 1:
        raise ProviderError("reset", maybe_billed=True, retry_after=0.002)
    return "fine"


async def wrong_once(text: str, number: int) -> str:
    await asyncio.sleep(0)
    return '{"label": 1}' if "That answer" in text else "no json"


SCENES: dict[str, tuple[Callable[[str, int], Awaitable[str]], ChatRequest, dict[str, Any]]] = {
    "prompt": (prompt, ask("q"), {}),
    "slow": (slow, ask("q"), {}),
    "image": (slow, ask("q", [picture()]), {}),
    "image to be shrunk": (slow, ask("q", [picture((64, 48))]), {"max_image_side": 16}),
    "overloaded": (overloaded_once, ask("q"), {}),
    "lost": (lost_once, ask("q"), {}),
    "repaired": (wrong_once, ask("q", schema=SCHEMA), {}),
    "rate": (slow, ask("q"), {"requests_per_minute": 60_000.0}),
    "tokens": (slow, ask("q"), {"tokens_per_minute": 10_000.0}),
}


async def assert_nothing_is_taken(opened: Gateway, model: BoundModel) -> None:
    """Also that the ledger's one figure is the sum of its rows."""
    await opened.store.write(lambda connection: None)  # after all that was posted
    assert opened._account.is_idle
    assert opened._account.open_nano == 0
    assert model.caller.gate.in_flight == 0
    assert model._flights._flying == {}
    assert (opened._pictures.held, opened._pictures._shared) == (0, {})
    rows = opened.store.read("SELECT state, cost_nano, bound_nano FROM call")
    assert "open" not in {state for state, _, _ in rows}
    assert all(cost == bound for state, cost, bound in rows if state == "lost")
    assert all(cost == 0 for state, cost, _ in rows if state == "void")
    (total,) = opened.store.read("SELECT committed_nano FROM account")[0]
    assert total == sum(cost for _, cost, _ in rows)


def states(opened: Gateway) -> list[str]:
    return [state for (state,) in opened.store.read("SELECT state FROM call ORDER BY id")]


@pytest.mark.parametrize("scene", SCENES)
def test_cancelled_at_every_point_where_it_can_be(scene: str, tmp_path: Path) -> None:
    script, request, settings = SCENES[scene]

    async def once(at: int) -> tuple[bool, list[str]]:
        provider = ToyProvider(script)
        async with toy_gateway(tmp_path / str(at), provider, budget_usd=1.0) as opened:
            model = bind(opened, provider, **settings)
            call = CancelledAt(model.complete(request), at)

            async def give_up() -> bool:
                try:
                    await call
                except asyncio.CancelledError:
                    return True
                return False

            cancelled = await asyncio.create_task(give_up())
            await assert_nothing_is_taken(opened, model)
            found = states(opened)
            # Each try that went out is told: answered, surely not billed (then another follows), or lost.
            assert found.count("settled") + found.count("lost") <= provider.sent.total()
            # Another one asks the same and is answered.
            await asyncio.wait_for(model.complete(request), LONGEST)
            await assert_nothing_is_taken(opened, model)
            return cancelled, found

    async def work() -> None:
        at, seen = 0, set()
        cancelled = True
        while cancelled:
            at += 1
            cancelled, found = await once(at)
            seen.update(found)
        assert at > 3, "it was cancelled nowhere"
        # All ways out were met: before it was sent, while it was under way, and after the answer came.
        assert seen == {"void", "lost", "settled"}

    run(work())


def test_given_up_on_the_wire_is_lost_and_before_it_void(tmp_path: Path) -> None:
    sent = asyncio.Event()

    async def never(text: str, number: int) -> str:
        sent.set()
        await asyncio.Event().wait()
        return ""

    async def work() -> None:
        provider = ToyProvider(never)
        async with toy_gateway(tmp_path, provider, budget_usd=1.0) as opened:
            model = bind(opened, provider, max_in_flight=1)
            flying = asyncio.create_task(model.complete(ask("one")))
            await sent.wait()
            waiting = asyncio.create_task(model.complete(ask("two")))
            while not model.caller.gate._waiting:
                await asyncio.sleep(0)
            for task in (waiting, flying):
                task.cancel()
            await asyncio.wait((waiting, flying))
            await assert_nothing_is_taken(opened, model)
            assert states(opened) == ["lost"]
            assert opened.store.read("SELECT outcome, cost_nano FROM call") == [
                ("cancelled", ((3 + 512 + 16) * 1 + 50 * 2) * 1000)
            ]

    run(work())


def test_a_coroutine_that_is_closed_gives_its_money_back(tmp_path: Path) -> None:
    """Not cancelled but dropped, as by a component that awaits it by hand: `GeneratorExit`."""

    async def work() -> None:
        provider = ToyProvider(slow)
        async with toy_gateway(tmp_path, provider, budget_usd=1.0) as opened:
            model = bind(opened, provider)
            await model.complete(ask("first"))
            call = model.complete(ask("second"))
            inner = call.__await__()
            for _ in range(3):  # until its reservation is being written
                if (future := inner.send(None)) is not None:
                    await asyncio.wait((future,))
                if opened.store.read("SELECT 1 FROM call WHERE state = 'open'"):
                    break
            else:
                raise AssertionError("it never reserved anything")
            call.close()
            await assert_nothing_is_taken(opened, model)

    run(work())


@pytest.mark.parametrize("seed", range(3))
def test_many_that_are_given_up_at_random(seed: int, tmp_path: Path) -> None:
    """All kinds of trouble, a budget that is always nearly full, timeouts and task groups everywhere."""
    chance = random.Random(seed)

    async def script(text: str, number: int) -> str:
        await asyncio.sleep(chance.random() * 0.004)
        match chance.randrange(8):
            case 0:
                raise ProviderError("busy", status=429, retry_after=0.001)
            case 1:
                raise ProviderError("reset", maybe_billed=True, retry_after=0.001)
            case 2:
                raise ProviderError("down", status=500, retry_after=0.001)
            case 3:
                raise ProviderError("no", status=400)
        return "fine"

    async def one(model: BoundModel, number: int) -> None:
        images = [picture((8 + number % 3, 8))] if number % 4 == 0 else []
        try:
            async with asyncio.timeout(chance.random() * 0.03):
                await model.complete(ask(f"{number % 40}", images))
        except (TimeoutError, ModelError):
            pass

    async def group(model: BoundModel, numbers: range) -> None:
        async def fail() -> None:
            await asyncio.sleep(chance.random() * 0.02)
            raise LookupError

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in numbers:
                    tasks.create_task(one(model, number))
                tasks.create_task(fail())
        except* LookupError:
            pass

    async def work() -> None:
        provider = ToyProvider(script)
        async with toy_gateway(tmp_path, provider, budget_usd=0.02, max_image_mb=0.001) as opened:
            model = bind(opened, provider, max_in_flight=8)
            await one(model, 0)  # its threads, so that the times below are those of calls
            await asyncio.gather(*(group(model, range(at, at + 10)) for at in range(0, 200, 10)))
            await assert_nothing_is_taken(opened, model)
            assert opened.spent_usd() <= 0.02
            found = states(opened)
            assert provider.sent.total() >= found.count("lost") + found.count("settled")

    run(work())


def test_money_freed_by_who_gives_up_goes_to_who_waits(tmp_path: Path) -> None:
    """A call that was let in but is not sent yet makes room when it goes: the one who waits is not told "no budget"."""

    async def work() -> None:
        provider = ToyProvider(slow)
        # One call may cost 0.000629: there is room for one at a time.
        async with toy_gateway(tmp_path, provider, budget_usd=0.0009) as opened:
            model = bind(opened, provider)
            opened._account.opened("another", 1)  # so that nobody takes the budget for spent
            first = asyncio.create_task(model.complete(ask("a")))
            while not opened.store.read("SELECT 1 FROM call"):
                await asyncio.sleep(0)
            second = asyncio.create_task(model.complete(ask("b")))
            first.cancel()
            opened._account.closed("another")
            done = await asyncio.wait_for(second, LONGEST)
            assert done.text == "fine"

    run(work())


def test_a_reached_budget_lets_no_smaller_call_begin(tmp_path: Path) -> None:
    async def work() -> None:
        provider = ToyProvider(slow)
        async with toy_gateway(tmp_path, provider, budget_usd=0.001) as opened:
            model = bind(opened, provider)
            await model.complete(ask("before"))
            with pytest.raises(BudgetReachedError):
                await model.complete(ask("large", max_tokens=100_000))
            with pytest.raises(BudgetReachedError) as caught:
                await model.complete(ask("small", max_tokens=1))
            assert caught.value.exit_code == 3
            assert (await model.complete(ask("before"))).cached
            assert sorted(provider.sent) == ["before"]

    run(work())


def test_nothing_that_waits_is_sent_after_a_stop(tmp_path: Path) -> None:
    """At the gate, behind a rate, behind the budget, between two tries; what is on the wire comes home."""
    began = asyncio.Event()
    go = asyncio.Event()

    async def script(text: str, number: int) -> str:
        if text == "again":
            raise ProviderError("come later", status=503, retry_after=3600.0)
        began.set()
        await go.wait()
        return "fine"

    async def work() -> None:
        provider = ToyProvider(script)
        async with toy_gateway(tmp_path, provider, budget_usd=0.0015) as opened:
            model = bind(opened, provider, max_in_flight=2, deadline_s=100_000.0)
            again = asyncio.create_task(model.complete(ask("again")))
            while not opened._guard._ended:
                await asyncio.sleep(0)
            flying = asyncio.create_task(model.complete(ask("flying")))
            await began.wait()
            broke = [asyncio.create_task(model.complete(ask(f"broke {number}"))) for number in range(5)]
            while not opened._account._changed:
                await asyncio.sleep(0)
            opened.stop_sending()
            ends = await asyncio.gather(again, *broke, return_exceptions=True)
            assert [type(end) for end in ends] == [NotSentError] * 6
            with pytest.raises(NotSentError):
                await model.complete(ask("later"))
            go.set()
            assert (await flying).text == "fine"
            assert (await model.complete(ask("flying"))).cached
            assert sorted(provider.sent) == ["again", "flying"]
            await assert_nothing_is_taken(opened, model)
            assert states(opened).count("settled") == 1

    run(work())


def test_a_stop_wakes_who_waits_for_a_slow_rate(tmp_path: Path) -> None:
    async def work() -> None:
        provider = ToyProvider(prompt)
        async with toy_gateway(tmp_path, provider) as opened:
            model = bind(opened, provider, requests_per_minute=0.01)
            await model.complete(ask("first"))
            waiting = [asyncio.create_task(model.complete(ask(f"{number}"))) for number in range(3)]
            while len(model.caller.gate._waiting) < 3:
                await asyncio.sleep(0)
            waiting[1].cancel()
            opened.stop_sending()
            ends = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(end) for end in ends] == [NotSentError, asyncio.CancelledError, NotSentError]
            await assert_nothing_is_taken(opened, model)

    run(work())


def test_who_leads_and_who_follows_are_cancelled_together(tmp_path: Path) -> None:
    """The follower must not take over what its own task group has given up."""
    provider = ToyProvider(slow)

    async def work() -> None:
        async with toy_gateway(tmp_path, provider) as opened:
            model = bind(opened, provider)
            await model.complete(ask("warm"))
            leader = asyncio.create_task(model.complete(ask("same")))
            follower = asyncio.create_task(model.complete(ask("same")))
            while not model._flights._flying:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            leader.cancel()
            follower.cancel()
            await asyncio.wait((leader, follower))
            assert leader.cancelled()
            assert follower.cancelled()
            await assert_nothing_is_taken(opened, model)
            assert provider.sent["same"] == 0

    run(work())
