"""Estimates from a sample: by hand, in a dry run, and against what a run then really costs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from models.support import ask, at, gateway, picture, run

from sgforge.models import BoundModel, ChatRequest, Message, ModelSettings, TextPart, Usage
from sgforge.models.estimate import DryRun, Estimate, ItemCalls, estimate, observe
from sgforge.models.money.call_trace import Observed
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider


def call(cost: float | None = 1.0, cached: bool = False, seconds: float = 2.0) -> Observed:
    return Observed("p/m", cached, Usage(input=10, output=5), cost, seconds)


def test_scaling_by_hand() -> None:
    """Calls per image 1, 2, 3: mean 2, deviation 1, t(2) = 4.303: 2 +- 2.484 an image."""
    observed = [ItemCalls((call(),) * count, False) for count in (1, 2, 3)]
    found = estimate(observed, images=300, in_flight=10)
    assert found.calls.mean == pytest.approx(600)
    assert found.calls.high == pytest.approx(300 * (2 + 4.303 / math.sqrt(3)))
    assert found.calls.low == 0
    assert found.input_tokens.mean == pytest.approx(6000)
    assert found.output_tokens.mean == pytest.approx(3000)
    assert found.cost_usd is not None
    assert found.cost_usd.mean == pytest.approx(600)
    assert found.seconds.mean == pytest.approx(600 * 2 / 10)
    assert found.cached_share == 0


def test_what_the_cache_holds_costs_nothing() -> None:
    observed = [ItemCalls((call(cached=True), call()), False), ItemCalls((call(cached=True),) * 2, False)]
    found = estimate(observed, images=100, in_flight=1)
    assert found.calls.mean == pytest.approx(50)
    assert found.cached_share == pytest.approx(0.75)


def test_an_unknown_price_gives_no_cost() -> None:
    assert estimate([ItemCalls((call(None),), False)] * 2, 10, 1).cost_usd is None
    assert estimate([], 10, 1).calls.mean == 0


def test_a_dry_run_sends_nothing_and_sees_the_cache(tmp_path: Path) -> None:
    async def work() -> tuple[Estimate, Estimate]:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            for number in range(5):
                await model.complete(ask(f"item {number}", [picture()]))
        async with gateway(tmp_path, DryRun()) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))

            async def one(number: int) -> None:
                await model.complete(ask(f"item {number}", [picture()]))

            known = estimate(await observe(one, range(10)), 1000, 1)
            fresh = opened.bind("compat/other", at(fake, "compat"))

            async def other(number: int) -> None:
                await fresh.complete(ask(f"item {number}", max_tokens=70))

            return known, estimate(await observe(other, range(4)), 1000, 1)

    with FakeProvider(lambda _: FakeAnswer("x", usage=(100, 0, 30))) as fake:
        known, unknown = run(work())
    assert fake.ledger.received == 5
    assert known.cached_share == pytest.approx(0.5)
    assert known.calls.mean == pytest.approx(500)
    assert known.output_tokens.mean == pytest.approx(500 * 30)  # as this model has written so far
    assert not known.is_bound
    assert unknown.is_bound
    assert unknown.output_tokens.mean == pytest.approx(1000 * 70)


def test_a_paid_sample_foretells_the_bill(tmp_path: Path) -> None:
    async def work() -> tuple[Estimate, float]:
        async with gateway(tmp_path) as opened:
            model: BoundModel = opened.bind("compat/m", at(fake, "compat"))

            async def one(number: int) -> None:
                for turn in range(1 + number % 3):
                    await model.complete(ask(f"{number} {turn}"))

            told = estimate(await observe(one, range(0, 300, 10)), 300, 16)
            await observe(one, range(300))
            return told, opened.spending()[0].usd

    with FakeProvider(lambda _: FakeAnswer("x", usage=(100, 0, 30))) as fake:
        told, spent = run(work())
    assert told.cost_usd is not None
    assert told.cost_usd.low <= spent <= told.cost_usd.high
    assert told.calls.low <= fake.ledger.received <= told.calls.high
    assert fake.ledger.repeated == {}


def test_items_that_fail_are_counted(tmp_path: Path) -> None:
    async def work() -> Estimate:
        async def one(number: int) -> None:
            if number % 2:
                raise ValueError("no")

        return estimate(await observe(one, range(10)), 100, 1)

    assert run(work()).failed == 5


def test_prices_stand_side_by_side(tmp_path: Path) -> None:
    """Live, with what was sent before read from the cache, and in a batch: by hand."""
    price = {"input_usd": 10.0, "cache_read_usd": 1.0, "output_usd": 0.0, "batch_factor": 0.5}
    text, shown = "w" * 4000, picture((750, 100))

    async def work() -> list[Observed]:
        async with gateway(tmp_path, DryRun()) as opened:
            model = opened.bind("openai/m", ModelSettings(**price))
            return [call for item in await observe(model.complete, asked) for call in item.calls]

    asked = [
        ChatRequest((Message("system", text), Message("user", (shown, TextPart(question)))), max_tokens=1)
        for question in ("aaaa", "bbbb")
    ]
    first, second = run(work())
    live = (1000 + 100 + 1) * 10 / 1e6
    assert [first.cost_usd, second.cost_usd] == pytest.approx([live, live])
    # The second begins with the same instructions and the same picture.
    assert [first.cached_usd, second.cached_usd] == pytest.approx([live, (1 * 10 + 1100 * 1) / 1e6])
    assert [first.batch_usd, second.batch_usd] == pytest.approx([live / 2, live / 2])
    told = estimate([ItemCalls((first, second), False)] * 2, 10, 1)
    assert told.cached_usd is not None
    assert told.batch_usd is not None
    assert told.cached_usd.mean == pytest.approx(10 * (live + 1110 / 1e6))
    assert told.batch_usd.mean == pytest.approx(10 * live)
