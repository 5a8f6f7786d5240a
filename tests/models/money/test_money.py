"""Prices, bounds, the ledger and the budget, against figures worked out by hand and against the server's own bill."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models.support import REMOTE, SCHEMA, ask, at, gateway, picture, run
from support.opened import started_threads

from sgforge.errors import ConfigError
from sgforge.models import Gateway, GatewaySettings, ModelError, ModelSettings, Usage
from sgforge.models.errors import BudgetReachedError, RunStoppedError
from sgforge.models.money.prices import Price, PriceTable, cost_nano, input_bound, worst_case
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeSettings
from sgforge_anthropic.wire import read_message
from sgforge_openai.answers import read_chat


def test_cost_by_hand() -> None:
    price = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75, batch_factor=0.5)
    usage = Usage(input=1000, cache_read=2000, cache_write=400, output=100)
    # 3000 + 600 + 1500 + 1500 micro-dollars
    assert cost_nano(price, usage) == 6_600_000
    assert cost_nano(price, usage, batch=True) == 3_300_000
    assert cost_nano(Price(1.0, 1.0), usage) == 3_500_000
    assert cost_nano(Price(0.0001, 0.0), Usage(input=1)) == 1  # rounded up, never lost


def test_a_long_call_costs_more_by_hand() -> None:
    """Haiku 5.5 of 2026-10: five times as much for all tokens of a call with over 100,000 input tokens."""
    price = Price(0.1, 0.5, 0.01, 0.125, 0.5, long_above=100_000, long_input=5.0, long_output=2.0)
    # 9,000 + 100 + 1,250 micro-dollars in, 500 out
    assert cost_nano(price, Usage(input=90_000, cache_read=10_000, output=1000)) == (9000 + 100 + 500) * 1000
    assert cost_nano(price, Usage(90_000, 10_000, 10_000, 1000)) == ((9000 + 100 + 1250) * 5 + 500 * 2) * 1000
    assert cost_nano(price, Usage(input=100_000, output=10**6)) == (10_000 + 500_000) * 1000
    assert worst_case(price, 100_000, 0) == 12_500 * 1000
    assert worst_case(price, 100_001, 0) == 62_500_625


tokens = st.integers(0, 10**6)


@given(
    price=st.builds(
        Price,
        *[st.floats(0, 100)] * 4,
        batch_factor=st.sampled_from([0.5, 1.0]),
        long_above=st.none() | st.integers(1, 10**6),
        long_input=st.floats(1, 5),
        long_output=st.floats(1, 5),
    ),
    parts=st.tuples(tokens, tokens, tokens),
    output=tokens,
    batch=st.booleans(),
)
def test_no_call_costs_more_than_its_worst_case(
    price: Price, parts: tuple[int, int, int], output: int, batch: bool
) -> None:
    usage = Usage(*parts, output=output)
    assert cost_nano(price, usage, batch) <= worst_case(price, sum(parts), output, batch) + 1


@given(text=st.text(max_size=200))
def test_the_input_bound_is_no_less_than_the_bytes(text: str) -> None:
    assert (
        input_bound(ask(text, [picture()], schema=SCHEMA), 700) >= len(text.encode()) + len(orjson.dumps(SCHEMA)) + 700
    )


def test_three_shapes_of_usage_become_one() -> None:
    choice = {"message": {"content": "x"}, "finish_reason": "stop"}
    chat = {
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert read_chat(orjson.dumps({"choices": [choice], "usage": chat})).usage == Usage(30, 60, 10, 30, 20)
    bare = {"prompt_tokens": 100, "completion_tokens": 30}
    assert read_chat(orjson.dumps({"choices": [choice], "usage": bare})).usage == Usage(100, 0, 0, 30, 0)
    assert read_chat(orjson.dumps({"choices": [choice]})).usage is None
    message = {"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    counts = {"input_tokens": 30, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10, "output_tokens": 30}
    counts = {**counts, "output_tokens_details": {"thinking_tokens": 20}}
    assert read_message(orjson.dumps({**message, "usage": counts})).usage == Usage(30, 60, 10, 30, 20)


def test_an_answer_without_usage_counts_at_its_worst_case(tmp_path: Path) -> None:
    async def work() -> float:
        async with gateway(tmp_path) as opened:
            await opened.bind("compat/m", at(fake, "compat")).complete(ask("q", max_tokens=50))
            return opened.spending()[0].usd

    with FakeProvider(settings=FakeSettings(with_usage=False)) as fake:
        assert run(work()) == pytest.approx(((1 + 512 + 16) * 1.0 + 50 * 2.0) / 1e6)


def test_the_built_in_table_is_sound() -> None:
    table = PriceTable.load()
    assert table.version
    for name, price in table.prices.items():
        assert price.output > price.input > 0, name
        assert price.image_tokens, name
        assert price.batch_factor == 0.5, name


def test_image_tokens_are_the_most_that_formulas_give() -> None:
    """Worked out from the vendors' formulas over every size up to what the plugins send; see prices.toml."""
    table = PriceTable.load().prices

    def tiles(width: int, height: int) -> int:
        scale = min(1.0, 768 / min(width, height))
        return math.ceil(width * scale / 512) * math.ceil(height * scale / 512)

    sides = [*range(1, 2048, 61), 512, 513, 767, 768, 769, 1024, 1025, 1536, 1537, 2047, 2048]
    most_tiles = max(tiles(width, height) for width in sides for height in sides)
    assert table["openai/gpt-4o"].image_tokens == table["openai/gpt-4.1"].image_tokens == 85 + 170 * most_tiles
    assert table["openai/gpt-4o-mini"].image_tokens == 2833 + 5667 * most_tiles
    assert table["openai/gpt-5"].image_tokens == 70 + 140 * most_tiles
    assert (
        table["openai/gpt-4.1-mini"].image_tokens == table["openai/gpt-5-mini"].image_tokens == math.ceil(1536 * 1.62)
    )
    assert table["openai/gpt-6-astra"].image_tokens == math.ceil(64 * 64 * 1.2)
    assert table["openai/gpt-6-luna"].image_tokens == math.ceil(64 * 64 * 2.46)
    claude = [price.image_tokens for name, price in table.items() if name.startswith("anthropic/")]
    assert min(count for count in claude if count) >= max(4784, math.ceil(1568 / 28) ** 2)


def test_a_larger_image_than_the_table_knows_needs_its_tokens(tmp_path: Path) -> None:
    """gpt-6-luna bills every patch, so what the table says holds only for images of the usual size."""

    async def work(**settings: int) -> None:
        async with gateway(tmp_path, budget_usd=1.0) as opened:
            own = ModelSettings(base_url=fake.openai_url, **settings)
            await opened.bind("openai/gpt-6-luna", own).complete(ask(images=[picture()]))

    with FakeProvider() as fake:
        with pytest.raises(RunStoppedError, match="image_tokens in"):
            run(work(max_image_side=4096))
        run(work(max_image_side=4096, image_tokens=40_000))
        run(work(max_image_side=1024))
        assert fake.ledger.answered == 1


def test_a_dated_name_has_the_price_of_its_model() -> None:
    table = PriceTable.load()
    plain = table.find("openai/gpt-4o", ModelSettings())
    assert plain is not None
    assert table.find("openai/gpt-4o-2024-11-20", ModelSettings()) == plain
    assert table.find("anthropic/claude-haiku-4-5-20251001", ModelSettings()) is not None
    assert table.find("openai/gpt-4o-nonsense", ModelSettings()) is None


def test_a_users_file_and_settings_come_first(tmp_path: Path) -> None:
    mine = tmp_path / "prices.toml"
    mine.write_text(
        'version = "mine"\n[models."openai/gpt-4o"]\ninput = 9\noutput = 10\n[models."x/y"]\ninput=1\noutput=2'
    )
    table = PriceTable.load(mine)
    assert table.version.endswith("+mine")
    assert table.find("openai/gpt-4o", ModelSettings()) == Price(9, 10)
    assert table.find("x/y", ModelSettings()) == Price(1, 2)
    assert table.find("openai/gpt-4.1", ModelSettings()) is not None
    own = table.find("openai/gpt-4o", ModelSettings(input_usd=3.0, output_usd=4.0, batch_factor=0.25))
    assert own == Price(3.0, 4.0, batch_factor=0.25)
    with pytest.raises(ConfigError, match="both"):
        table.find("openai/gpt-4o", ModelSettings(input_usd=3.0))


def test_every_mistake_of_a_price_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(
        """
        vresion = "1"
        [models."openai/a"]
        input = -1
        output = "two"
        [models."b"]
        input = 1
        outptu = 2
        [models."openai/c"]
        input = true
        output = nan
        image_tokens = 1.5
        """
    )
    with pytest.raises(ConfigError) as caught:
        PriceTable.load(path)
    told = str(caught.value)
    assert str(path) in told
    for part in (
        "version must",
        "'vresion'",
        "input must",
        "-1",
        "'two'",
        "provider/model",
        "'outptu'",
        "output is missing",
    ):
        assert part in told
    for part in ("True", "nan", "image_tokens must"):
        assert part in told


@pytest.mark.parametrize("content", ["version = ", "\x00"])
def test_a_price_file_that_is_none_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"p\.toml"):
        PriceTable.load(tmp_path / "p.toml")
    with pytest.raises(ConfigError, match=r"none\.toml"):
        PriceTable.load(tmp_path / "none.toml")


def test_a_gateway_that_is_refused_leaves_nothing_open_and_no_ballast(tmp_path: Path) -> None:
    started = started_threads()
    prices = tmp_path / "prices.toml"
    prices.write_text("version = 5\n")
    folder = tmp_path / "data"
    with pytest.raises(ConfigError):
        Gateway.open(folder / "responses.sqlite", GatewaySettings(prices=prices))
    assert {path.name for path in folder.iterdir()} == {"responses.sqlite", "responses.sqlite.seal"}
    assert started("sgforge-responses") == []


def test_a_budget_needs_prices_before_anything_is_sent(tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path, budget_usd=1.0) as opened:
            with pytest.raises(ConfigError, match="price of compat/m is not known"):
                opened.bind("compat/m", ModelSettings(base_url=fake.openai_url))
        async with gateway(tmp_path, budget_usd=1.0) as opened:
            free = ModelSettings(base_url=fake.openai_url, input_usd=1.0, output_usd=1.0)
            with pytest.raises(RunStoppedError, match="image_tokens"):
                await opened.bind("compat/m", free).complete(ask(images=[picture()]))

    with FakeProvider() as fake:
        run(work())
    assert fake.ledger.received == 0


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("budget", [0.0005, 0.002, 0.005])
def test_the_budget_is_never_exceeded_and_well_used(name: str, budget: float, tmp_path: Path) -> None:
    async def work() -> tuple[int, int]:
        async with gateway(tmp_path, budget_usd=budget) as opened:
            model = opened.bind(name, at(fake, name, max_in_flight=30))
            work = (model.complete(ask(f"item {number}", max_tokens=50)) for number in range(100))
            results = await asyncio.gather(*work, return_exceptions=True)
            refused = [result for result in results if isinstance(result, BudgetReachedError)]
            others = [result for result in results if isinstance(result, Exception)]
            assert len(others) == len(refused)
            assert opened.spent_usd() == pytest.approx(sum(row.usd for row in opened.spending()), abs=1e-12)
            assert all(error.exit_code == 3 and error.stops_run for error in refused)
            return len(results) - len(refused), len(refused)

    with FakeProvider(lambda _: FakeAnswer("x" * 100, delay_s=0.01)) as fake:
        done, refused = run(work())
    billed = fake.ledger.billed_usd(1.0, 2.0)
    assert billed <= budget
    assert done == fake.ledger.answered
    assert refused > 0
    worst = ((len("item 10") + 512 + 16) + 2 * 50) / 1e6
    assert billed > budget - worst  # it stopped only when not even one more call was sure to fit


def test_a_budget_counts_what_earlier_runs_spent(tmp_path: Path) -> None:
    async def work(budget: float) -> int:
        async with gateway(tmp_path, budget_usd=budget) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            done = 0
            for number in range(20):
                try:
                    done += not (await model.complete(ask(f"{number}"))).cached
                except ModelError:
                    return done
            return done

    with FakeProvider() as fake:
        first = run(work(0.0008))
        again = run(work(0.0008))
        more = run(work(1.0))
    assert first > 0
    assert again == 0
    assert first + more == 20


def test_two_gateways_on_one_file_share_the_budget(tmp_path: Path) -> None:
    budget = 0.003

    async def work() -> None:
        async with gateway(tmp_path, budget_usd=budget) as one, gateway(tmp_path, budget_usd=budget) as two:
            models = [opened.bind("compat/m", at(fake, "compat")) for opened in (one, two)]
            await asyncio.gather(
                *(models[number % 2].complete(ask(f"{number}")) for number in range(100)), return_exceptions=True
            )

    with FakeProvider(lambda _: FakeAnswer("x" * 100, delay_s=0.01)) as fake:
        run(work())
    assert 0 < fake.ledger.billed_usd(1.0, 2.0) <= budget


def test_calls_of_a_killed_process_stay_at_their_worst_case(tmp_path: Path) -> None:
    """Five calls are in flight when the process dies; whether they were billed, nobody can know."""
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from models.support import ask, gateway, resolve
        from sgforge.models import ModelSettings

        async def main():
            async with gateway(Path(sys.argv[2])) as opened:
                model = opened.bind("compat/m", ModelSettings(base_url=sys.argv[1], input_usd=1.0, output_usd=2.0))
                await asyncio.gather(*(model.complete(ask("q", ordinal=n)) for n in range(5)))

        asyncio.run(main())
        """
    )

    async def look() -> tuple[int, float]:
        async with gateway(tmp_path) as opened:
            (spent,) = opened.spending()
            return spent.lost, spent.usd

    with FakeProvider(lambda _: FakeAnswer("x", fault="hang")) as fake:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        child = subprocess.Popen([sys.executable, "-c", script, fake.openai_url, str(tmp_path)], env=environment)
        while fake.ledger.received < 5:
            assert child.poll() is None
            os.sched_yield()
        child.send_signal(signal.SIGKILL)
        child.wait()
        lost, usd = run(look())
    assert lost == 5
    assert usd == pytest.approx(5 * ((1 + 512 + 16) * 1.0 + 50 * 2.0) / 1e6)
