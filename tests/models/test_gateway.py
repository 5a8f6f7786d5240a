"""What is bought, what is served from the cache, what is never bought twice; over a real socket, for every vendor."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from models.support import REMOTE, SCHEMA, ask, at, gateway, picture, run
from support.opened import open_below, started_threads

from sgforge.models import ChatResponse, ModelError, ModelSettings, collect_calls
from sgforge.models.money.ledger import find_answer
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest

GOOD = '{"label": "dog", "count": 2}'


@pytest.mark.parametrize("name", REMOTE)
def test_an_answer_is_bought_once(name: str, tmp_path: Path) -> None:
    seen: list[FakeRequest] = []

    def script(request: FakeRequest) -> FakeAnswer:
        seen.append(request)
        return FakeAnswer(GOOD, usage=(1000, 400, 50))

    async def work() -> tuple[ChatResponse, ChatResponse]:
        async with gateway(tmp_path) as opened:
            model = opened.bind(name, at(fake, name, cache_read_usd=0.1))
            with collect_calls() as calls:
                first = await model.complete(ask(images=[picture()], schema=SCHEMA))
            assert calls == [first.call_id]
        async with gateway(tmp_path) as opened:
            with collect_calls() as calls:
                second = await opened.bind(name, at(fake, name)).complete(ask(images=[picture()], schema=SCHEMA))
            assert calls == [first.call_id]
        return first, second

    with FakeProvider(script) as fake:
        first, second = run(work())
    assert first.parsed == second.parsed == {"label": "dog", "count": 2}
    assert (first.cached, second.cached) == (False, True)
    assert fake.ledger.received == 1
    assert seen[0].images == (picture().load(),)
    assert seen[0].max_tokens == 50
    assert first.usage == second.usage
    assert (first.usage.input, first.usage.cache_read, first.usage.output) == (600, 400, 50)
    assert first.cost_usd == pytest.approx((600 * 1.0 + 400 * 0.1 + 50 * 2.0) / 1e6, abs=1e-12)
    assert second.cost_usd == first.cost_usd


def test_a_provider_that_cannot_be_closed_keeps_nothing_else_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgforge_openai.compat import CompatProvider

    async def fail(provider: CompatProvider) -> None:
        raise OSError("stuck")

    monkeypatch.setattr(CompatProvider, "close", fail)

    async def work() -> None:
        async with gateway(tmp_path) as opened:
            for name in ("compat/a", "compat/b"):
                opened.bind(name, ModelSettings(base_url="http://127.0.0.1:1/v1"))

    started = started_threads()
    with pytest.raises(OSError, match="stuck"):
        run(work())
    assert open_below(tmp_path) == []
    assert started("sgforge-responses") == []


def test_one_more_item_is_one_more_call(tmp_path: Path) -> None:
    async def ask_all(count: int) -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            await asyncio.gather(*(model.complete(ask(f"item {number}")) for number in range(count)))

    with FakeProvider() as fake:
        run(ask_all(100))
        assert fake.ledger.received == 100
        run(ask_all(101))
        assert fake.ledger.received == 101


def test_equal_requests_at_one_time_are_one_call(tmp_path: Path) -> None:
    async def work() -> list[ChatResponse]:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            return await asyncio.gather(*(model.complete(ask("same")) for _ in range(20)))

    with FakeProvider(lambda _: FakeAnswer("ok", delay_s=0.05)) as fake:
        answers = run(work())
    assert fake.ledger.received == 1
    assert sum(not answer.cached for answer in answers) == 1


def test_when_the_one_who_asks_is_cancelled_another_takes_over(tmp_path: Path) -> None:
    async def work() -> str:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            leader = asyncio.create_task(model.complete(ask("same")))
            while fake.ledger.received == 0:
                await asyncio.sleep(0.005)
            follower = asyncio.create_task(model.complete(ask("same")))
            await asyncio.sleep(0.01)
            leader.cancel()
            return (await follower).text

    with FakeProvider(lambda _: FakeAnswer("ok", delay_s=0.1)) as fake:
        assert run(work()) == "ok"


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (FakeAnswer("I will not", finish="refusal"), "refused"),
        (FakeAnswer('{"label": ', finish="length"), "truncated"),
        (FakeAnswer("no json at all"), "invalid"),
        (FakeAnswer('{"label": "dog", "count": "two"}'), "invalid"),
        (FakeAnswer('{"label": ["a dog", "a cat"], "count": 1}'), "invalid"),
    ],
)
def test_unusable_answers_cost_once_and_are_never_served(
    name: str, answer: FakeAnswer, reason: str, tmp_path: Path
) -> None:
    async def attempt(**settings: object) -> str:
        async with gateway(tmp_path, repair=False, **settings) as opened:
            model = opened.bind(name, at(fake, name))
            with pytest.raises(ModelError) as caught:
                await model.complete(ask(schema=SCHEMA))
            assert opened.spending()[0].usd > 0
            stored = find_answer(opened.store, await model.key(ask(schema=SCHEMA)))
            assert stored is not None
            assert stored.outcome == caught.value.reason
            assert stored.cost_nano
            return caught.value.reason

    with FakeProvider(lambda _: answer) as fake:
        assert run(attempt()) == reason
        assert run(attempt()) == reason
        assert fake.ledger.received == 1
        assert run(attempt(retry_failed=True)) == reason
        assert fake.ledger.received == 2


def test_a_retried_failure_that_succeeds_is_served_from_then_on(tmp_path: Path) -> None:
    answers = iter([FakeAnswer("I will not", finish="refusal"), FakeAnswer("fine")])

    async def attempt(**settings: bool) -> str:
        async with gateway(tmp_path, **settings) as opened:
            return (await opened.bind("openai/m", at(fake, "openai")).complete(ask())).text

    with FakeProvider(lambda _: next(answers)) as fake:
        with pytest.raises(ModelError, match="refused"):
            run(attempt())
        assert run(attempt(retry_failed=True)) == "fine"
        assert run(attempt()) == "fine"
        assert fake.ledger.received == 2


@pytest.mark.parametrize("name", REMOTE)
def test_a_faulty_answer_is_repaired_once_and_both_calls_are_billed(name: str, tmp_path: Path) -> None:
    asked: list[str] = []

    def script(request: FakeRequest) -> FakeAnswer:
        asked.append(request.text)
        bad = len(asked) == 1
        return FakeAnswer('{"label": 5}' if bad else GOOD, usage=(100, 0, 10) if bad else (200, 0, 20))

    async def work() -> tuple[ChatResponse, float]:
        async with gateway(tmp_path) as opened:
            response = await opened.bind(name, at(fake, name)).complete(ask(schema=SCHEMA))
            return response, opened.spending()[0].usd

    with FakeProvider(script) as fake:
        response, spent = run(work())
    assert response.repaired
    assert response.parsed == {"label": "dog", "count": 2}
    assert (response.usage.input, response.usage.output) == (300, 30)
    assert spent == pytest.approx((300 + 2 * 30) / 1e6)
    assert len(asked) == 2
    question, _, _ = asked[0].partition("\n")  # the schema in words behind it stands in the complaint instead
    assert question in asked[1]
    assert '{"label": 5}' in asked[1]
    assert "$.label" in asked[1]


def test_a_repair_is_tried_once_only(tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            with pytest.raises(ModelError, match="invalid"):
                await opened.bind("compat/m", at(fake, "compat")).complete(ask(schema=SCHEMA))

    with FakeProvider(lambda _: FakeAnswer("never json")) as fake:
        run(work())
        run(work())
    assert fake.ledger.received == 2


def test_a_repair_cut_short_goes_on_with_the_repair(tmp_path: Path) -> None:
    """The first answer is paid and stored; the process that should have repaired it is gone."""
    calls: list[str] = []

    def script(request: FakeRequest) -> FakeAnswer:
        calls.append(request.text)
        return FakeAnswer("not json") if len(calls) == 1 else FakeAnswer("down", 503) if fails else FakeAnswer(GOOD)

    async def attempt() -> ChatResponse:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat", deadline_s=0.05))
            return await model.complete(ask(schema=SCHEMA))

    with FakeProvider(script) as fake:
        fails = True
        with pytest.raises(ModelError, match="http_503"):
            run(attempt())
        fails = False
        before = len(calls)
        response = run(attempt())
    assert response.repaired
    assert len(calls) == before + 1
    assert "not json" in calls[-1]


def test_a_fenced_answer_is_read(tmp_path: Path) -> None:
    async def work() -> ChatResponse:
        async with gateway(tmp_path) as opened:
            return await opened.bind("compat/m", at(fake, "compat")).complete(ask(schema=SCHEMA))

    with FakeProvider(lambda _: FakeAnswer(f"```json\n{GOOD}\n```")) as fake:
        assert run(work()).parsed == {"label": "dog", "count": 2}
    assert fake.ledger.received == 1


@pytest.mark.parametrize("name", ["compat/m", "openai/m"])
def test_probabilities_of_the_choices(name: str, tmp_path: Path) -> None:
    tokens = {"Yes": 0.5, " yes": 0.1, "no": 0.2, "maybe": 0.2}

    async def work() -> ChatResponse:
        async with gateway(tmp_path) as opened:
            model = opened.bind(name, at(fake, name))
            assert model.capabilities.probabilities
            return await model.complete(ask(choices=("yes", "no"), max_tokens=1))

    with FakeProvider(lambda _: FakeAnswer("Yes", tokens=tokens, finish="length")) as fake:
        response = run(work())
    assert response.probabilities == {"yes": pytest.approx(0.6), "no": pytest.approx(0.2)}
    assert response.yes_probability == pytest.approx(0.75)


def test_without_probabilities_there_is_none(tmp_path: Path) -> None:
    async def work() -> ChatResponse:
        async with gateway(tmp_path) as opened:
            model = opened.bind("anthropic/m", at(fake, "anthropic"))
            assert not model.capabilities.probabilities
            return await model.complete(ask(choices=("yes", "no")))

    with FakeProvider(lambda _: FakeAnswer("yes")) as fake:
        assert run(work()).yes_probability is None


def test_a_request_beyond_the_provider_is_refused_before_it_is_paid(tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind("anthropic/m", at(fake, "anthropic"))
            with pytest.raises(ModelError, match="temperature"):
                await model.complete(ask(temperature=0.5))
            with pytest.raises(ModelError, match="bad_schema"):
                await model.complete(ask(schema={"type": "nonsense"}))

    with FakeProvider() as fake:
        run(work())
    assert fake.ledger.received == 0
