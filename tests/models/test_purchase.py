"""One purchase on its own: reserve, wait for a slot, send, try again, settle; against a provider in this process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from models.support import ask, picture, run
from models.toy_provider import Script, ToyProvider, bind, toy_gateway

import sgforge.models.limits.circuit_breaker
import sgforge.models.purchase
from sgforge.models import ChatRequest, Gateway, ModelError, Usage
from sgforge.models.errors import ProviderError, RunStoppedError, StoreError
from sgforge.models.money.ledger import StoredAnswer, find_answer, save_answer
from sgforge.models.provider import Reply
from sgforge.models.purchase import Caller

KEY = b"k" * 32
WORST = (1 + 512 + 16) * 1000 + 50 * 2000
"""Nano-dollars of `ask("q", max_tokens=50)`: one byte with the allowances for framing, and all it may write."""
TRUE = 10 * 1000 + 5 * 2000


@asynccontextmanager
async def opened(
    folder: Path, script: Script, provider: ToyProvider | None = None, **settings: Any
) -> AsyncIterator[tuple[Gateway, Caller]]:
    toy = provider or ToyProvider(script)
    async with toy_gateway(folder, toy, budget_usd=1.0) as gateway:
        yield gateway, bind(gateway, toy, **settings).caller


async def buy(caller: Caller, request: ChatRequest = ask("q"), faulty: StoredAnswer | None = None) -> StoredAnswer:
    return await caller.buy(KEY, request, faulty)


def rows(gateway: Gateway) -> list[tuple[str, str, int, int]]:
    return gateway.store.read("SELECT state, outcome, bound_nano, cost_nano FROM call ORDER BY id")


def committed(gateway: Gateway) -> int:
    return gateway.store.read("SELECT committed_nano FROM account")[0][0]


def saved(gateway: Gateway) -> list[tuple[str, bytes]]:
    return gateway.store.read("SELECT outcome, raw FROM response")


async def fine(text: str, number: int) -> str:
    return "fine"


def failing(*errors: ProviderError) -> Script:
    """These errors, one after the other, then the answer."""

    async def script(text: str, number: int) -> str:
        if number <= len(errors):
            raise errors[number - 1]
        return "fine"

    return script


def down(**fields: Any) -> ProviderError:
    return ProviderError("down", **{"retry_after": 0.001, **fields})


def test_what_is_bought_is_settled_and_saved_when_it_is_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path, fine) as (gateway, caller):
            bought = await buy(caller)
            raw = b'{"answer": "fine"}'
            usage = Usage(input=10, output=5)
            assert bought == StoredAnswer(KEY, "toy/one", "ok", raw, "", usage, TRUE, False)
            assert find_answer(gateway.store, KEY) == bought
            assert rows(gateway) == [("settled", "ok", WORST, TRUE)]
            assert committed(gateway) == TRUE

    run(work())


def test_a_repair_is_bought_under_the_same_key_and_tells_the_cost_of_both(tmp_path: Path) -> None:
    schema = {"type": "object"}
    asked: list[str] = []

    async def script(text: str, number: int) -> str:
        asked.append(text)
        return "no json" if len(asked) == 1 else "{}"

    async def work() -> None:
        async with opened(tmp_path, script) as (gateway, caller):
            faulty = await buy(caller, ask("q", schema=schema))
            assert (faulty.outcome, faulty.repaired) == ("unrepaired", False)
            mended = await buy(caller, ask("q", schema=schema), faulty)
            assert (mended.outcome, mended.repaired) == ("ok", True)
            assert (mended.usage, mended.cost_nano) == (Usage(input=20, output=10), 2 * TRUE)
            assert saved(gateway) == [("ok", b'{"answer": "{}"}')]
            assert [(state, outcome) for state, outcome, _, _ in rows(gateway)] == [
                ("settled", "unrepaired"),
                ("settled", "ok"),
            ]
            assert "does not satisfy" in asked[1]

    run(work())


def test_images_are_made_to_fit_and_told(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path, fine, max_image_side=8) as (_, caller):
            bought = await buy(caller, ask("q", [picture((32, 24))]))
            [note] = bought.notes
            assert "downscaled from 32x24" in note
            assert "to 8x6" in note

    run(work())


def test_without_a_count_of_tokens_the_worst_case_is_paid(tmp_path: Path) -> None:
    class Uncounting(ToyProvider):
        def read(self, raw: bytes) -> Reply:
            return Reply("fine", "stop", None)

    async def work() -> None:
        async with opened(tmp_path, fine, Uncounting(fine)) as (gateway, caller):
            assert (await buy(caller)).usage == Usage(input=1 + 512 + 16, output=50)
            assert rows(gateway) == [("settled", "ok", WORST, WORST)]

    run(work())


def test_tries_that_are_surely_not_billed_share_one_reservation(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path, failing(down(status=503), down(status=429), down())) as (gateway, caller):
            await buy(caller)
            assert rows(gateway) == [("settled", "ok", WORST, TRUE)]

    run(work())


def test_a_try_that_may_be_billed_stays_and_the_next_has_money_of_its_own(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path, failing(down(maybe_billed=True), down(status=500))) as (gateway, caller):
            await buy(caller)
            assert rows(gateway) == [("lost", "connection", WORST, WORST), ("settled", "ok", WORST, TRUE)]
            assert committed(gateway) == WORST + TRUE

    run(work())


def test_what_was_lost_four_times_is_given_up(tmp_path: Path) -> None:
    async def work() -> None:
        provider = ToyProvider(failing(*[down(maybe_billed=True, reason="reset")] * 9))
        async with opened(tmp_path, fine, provider) as (gateway, caller):
            with pytest.raises(ModelError, match="down after 4 tries") as caught:
                await buy(caller)
            assert caught.value.reason == "reset"
            assert provider.sent["q"] == 4
            assert rows(gateway) == [("lost", "reset", WORST, WORST)] * 4

    run(work())


def test_after_the_deadline_no_other_try_begins(tmp_path: Path) -> None:
    async def work() -> None:
        provider = ToyProvider(failing(down(status=503, retry_after=20.0)))
        async with opened(tmp_path, fine, provider, deadline_s=10.0) as (gateway, caller):
            with pytest.raises(ModelError, match=r"down$") as caught:
                await buy(caller)
            assert caught.value.reason == "http_503"
            assert provider.sent["q"] == 1
            assert rows(gateway) == [("void", "http_503", WORST, 0)]
            assert committed(gateway) == 0

    run(work())


def test_what_cannot_be_said_on_the_wire_costs_nothing_and_is_not_entered(tmp_path: Path) -> None:
    class Mute(ToyProvider):
        def body(self, model: str, request: ChatRequest, encode: Any) -> dict[str, Any]:
            raise ValueError("no word for it")

    async def work() -> None:
        async with opened(tmp_path, fine, Mute(fine)) as (gateway, caller):
            with pytest.raises(ModelError, match="unsupported: toy/one: no word for it"):
                await buy(caller)
            assert rows(gateway) == []

    run(work())


def test_a_provider_that_breaks_leaves_its_call_lost(tmp_path: Path) -> None:
    async def broken(text: str, number: int) -> str:
        raise KeyError("a bug of the provider")

    async def work() -> None:
        async with opened(tmp_path, broken) as (gateway, caller):
            with pytest.raises(KeyError):
                await buy(caller)
            assert rows(gateway) == [("lost", "KeyError", WORST, WORST)]
            assert gateway._account.is_idle

    run(work())


def test_an_answer_that_cannot_be_saved_is_lost_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost and answer are one transaction: a bug in the saving leaves neither, and the call at its worst case."""

    def save(db: sqlite3.Connection, answer: StoredAnswer) -> None:
        save_answer(db, answer)
        raise TypeError("a bug of ours")

    monkeypatch.setattr(sgforge.models.purchase, "save_answer", save)

    async def work() -> None:
        async with opened(tmp_path, fine) as (gateway, caller):
            with pytest.raises(TypeError):
                await buy(caller)
            assert rows(gateway) == [("lost", "TypeError", WORST, WORST)]
            assert saved(gateway) == []
            assert gateway._account.is_idle

    run(work())


def test_a_file_that_is_full_ends_the_purchase_and_every_other(tmp_path: Path) -> None:
    """SQLite itself says that it is full: the file may have no more pages than it has when the answer comes."""

    async def work() -> None:
        async with opened(tmp_path, fine) as (gateway, caller):

            async def fill(text: str, number: int) -> str:
                def stop_growing(db: sqlite3.Connection) -> None:
                    (pages,) = db.execute("PRAGMA page_count").fetchone()
                    db.execute(f"PRAGMA max_page_count = {pages}")

                await gateway.store.write(stop_growing)
                return "x" * 100_000

            caller.provider._script = fill  # type: ignore[attr-defined]
            with pytest.raises(StoreError, match="free some space"):
                await buy(caller)
            # It was sent and may be billed: nobody can write down what became of it.
            assert rows(gateway) == [("open", "", WORST, None)]
            assert gateway._account.is_idle
            assert caller.gate.in_flight == 0
            with pytest.raises(StoreError):
                await buy(caller)
            assert caller.provider.sent["q"] == 1  # type: ignore[attr-defined]

    run(work())


def test_a_retry_goes_before_those_that_were_never_sent(tmp_path: Path) -> None:
    order: list[str] = []
    go = asyncio.Event()

    async def script(text: str, number: int) -> str:
        order.append(text)
        if order == ["first"]:
            raise down(status=503)
        if text == "second":
            await go.wait()
        return "fine"

    async def work() -> None:
        async with opened(tmp_path, script, max_in_flight=1) as (_, caller):
            # Asked in this order, so that they wait in this order; the try again of the first comes last.
            names = ["first", "second", "third", "fourth"]
            tasks = []
            for name in names:
                tasks.append(asyncio.create_task(caller.buy(name.encode(), ask(name), None)))
                while name == "first" and not order:
                    await asyncio.sleep(0)
            while len(caller.gate._front) + len(caller.gate._waiting) < 3:
                await asyncio.sleep(0.001)
            go.set()
            await asyncio.gather(*tasks)

    run(work())
    assert order == ["first", "second", "first", "third", "fourth"]


@pytest.mark.parametrize("reason", ["timeout", "connection", "malformed"])
def test_what_reached_a_server_does_not_say_that_there_is_none(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sgforge.models.limits.circuit_breaker, "UNREACHED_S", 0.0)

    async def work() -> None:
        async with opened(tmp_path, failing(*[down(maybe_billed=True, reason=reason)] * 3)) as (_, caller):
            assert (await buy(caller)).outcome == "ok"

    run(work())


def test_a_call_that_ran_out_of_time_did_reach_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgforge.models.limits.circuit_breaker, "UNREACHED_S", 0.0)

    async def hang(text: str, number: int) -> str:
        await asyncio.Event().wait()
        return ""

    async def work() -> None:
        async with opened(tmp_path, hang, timeout_s=0.01) as (gateway, caller):
            with pytest.raises(ModelError) as caught:
                await buy(caller)
            assert (caught.value.reason, caught.value.stops_run) == ("timeout", False)
            assert rows(gateway) == [("lost", "timeout", WORST, WORST)] * 4

    run(work())


def test_what_reached_no_server_for_long_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgforge.models.limits.circuit_breaker, "UNREACHED_S", 0.0)

    async def work() -> None:
        async with opened(tmp_path, failing(down())) as (gateway, caller):
            with pytest.raises(RunStoppedError, match="no call to toy/one reached its server"):
                await buy(caller)
            assert rows(gateway) == [("void", "unreachable", WORST, 0)]

    run(work())
