"""Which failures are tried again, for how long, and when the run stops."""

from __future__ import annotations

import asyncio
import random
from email.utils import formatdate
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models.support import REMOTE, ask, at, gateway, run
from support.waiting import LONGEST

from sgforge.models import ModelError, ModelSettings
from sgforge.models.errors import ProviderError
from sgforge.models.gateway import BoundModel
from sgforge.models.limits.retry import backoff_s, judge
from sgforge.models.wire.failures import message_of, retry_after_s
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(None, "retry"), *((code, "retry") for code in (408, 409, 429, 500, 502, 503, 529))]
    + [(code, "fail") for code in (400, 413, 422)]
    + [(code, "refused") for code in (401, 402, 403)],
)
def test_verdicts(status: int | None, verdict: str) -> None:
    assert judge(ProviderError("x", status=status)) == verdict


@given(attempt=st.integers(0, 60), seed=st.integers())
def test_jitter_is_full_and_bounded(attempt: int, seed: int) -> None:
    delay = backoff_s(attempt, None, random.Random(seed))
    assert 0 <= delay <= min(60.0, 0.5 * 2**attempt)


@given(attempt=st.integers(0, 60), wait=st.floats(0, 500), seed=st.integers())
def test_never_before_retry_after(attempt: int, wait: float, seed: int) -> None:
    assert wait <= backoff_s(attempt, wait, random.Random(seed)) <= 1.1 * wait + 1e-9


def test_calls_that_were_refused_together_do_not_come_back_together() -> None:
    assert len({backoff_s(3, 10.0, random.Random(seed)) for seed in range(20)}) == 20


def test_retry_after_headers() -> None:
    assert retry_after_s({"retry-after": "7"}) == 7.0
    assert retry_after_s({"retry-after": "0.25"}) == 0.25
    assert retry_after_s({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"retry-after": "-3"}) is None
    assert retry_after_s({"retry-after": "nan"}) is None
    assert retry_after_s({}) is None
    assert retry_after_s({"retry-after": formatdate(0, usegmt=True)}) == 0.0


def test_messages_of_error_bodies() -> None:
    assert message_of(b'{"error": {"message": "too long", "type": "x"}}') == "too long"
    assert message_of(b'{"error": "plain"}') == "plain"
    assert message_of(b"<html><style>a {}</style><title>404 Not\n Found</title>") == "a web page: 404 Not Found"
    assert message_of(b"404 page\nnot found\n") == "404 page not found"
    assert message_of(b"[1]") == "[1]"
    assert len(message_of(b"x" * 10_000)) == 400


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_passing_troubles_are_tried_again(name: str, status: int, tmp_path: Path) -> None:
    tries: list[int] = []

    def script(request: FakeRequest) -> FakeAnswer:
        tries.append(status)
        return FakeAnswer("wait", status, retry_after_s=0.01) if len(tries) < 3 else FakeAnswer("done")

    async def work() -> str:
        async with gateway(tmp_path) as opened:
            response = await opened.bind(name, at(fake, name)).complete(ask())
            assert opened.spending()[0].lost == 0
            return response.text

    with FakeProvider(script) as fake:
        assert run(work()) == "done"
    assert len(tries) == 3


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_cannot_get_better_fails_the_item_at_once(name: str, status: int, tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            with pytest.raises(ModelError, match="because so") as caught:
                await opened.bind(name, at(fake, name)).complete(ask())
            assert caught.value.reason == f"http_{status}"
            assert not caught.value.stops_run
            assert opened.spending()[0].usd == 0

    with FakeProvider(lambda _: FakeAnswer("because so", status)) as fake:
        run(work())
        run(work())  # transport errors are no answers: asked again
    assert fake.ledger.received == 2


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("status", [401, 402, 403])
def test_refusals_in_a_row_stop_the_run(name: str, status: int, tmp_path: Path) -> None:
    async def work() -> list[ModelError]:
        errors = []
        async with gateway(tmp_path) as opened:
            model = opened.bind(name, at(fake, name))
            for number in range(6):
                with pytest.raises(ModelError) as caught:
                    await model.complete(ask(f"{number}"))
                errors.append(caught.value)
        return errors

    with FakeProvider(lambda _: FakeAnswer("go away", status)) as fake:
        errors = run(work())
    assert [error.stops_run for error in errors] == [False, False, True, True, True, True]
    assert fake.ledger.received == 3


def test_a_good_answer_between_refusals_keeps_the_run_going(tmp_path: Path) -> None:
    def script(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer("no", 403) if request.number % 3 else FakeAnswer("yes")

    async def work() -> list[bool]:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            found = []
            for number in range(12):
                try:
                    await model.complete(ask(f"{number}"))
                except ModelError as error:
                    found.append(error.stops_run)
            return found

    with FakeProvider(script) as fake:
        assert run(work()) == [False] * 8


@pytest.mark.parametrize("name", REMOTE)
def test_a_call_that_hangs_is_cut_off_counted_and_tried_again(name: str, tmp_path: Path) -> None:
    bound: list[BoundModel] = []

    def script(request: FakeRequest) -> FakeAnswer:
        if request.number > 1:
            return FakeAnswer("late")
        # The call that hangs is under way with its limit; a busy machine may take as long for the answers after it.
        provider = bound[0].caller.provider
        provider.settings = attrs.evolve(provider.settings, timeout_s=LONGEST)
        return FakeAnswer("late", fault="hang")

    async def work() -> None:
        async with gateway(tmp_path) as opened:
            bound.append(opened.bind(name, at(fake, name, timeout_s=2.0)))
            assert (await bound[0].complete(ask())).text == "late"
            (spent,) = opened.spending()
            assert spent.lost >= 1  # more, if this machine takes as long to send the first one
            assert spent.calls == spent.lost + 1

    with FakeProvider(script, FakeSettings()) as fake:
        run(work())


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("fault", ["reset", "malformed", "half_json"])
def test_an_answer_lost_on_the_way_costs_its_worst_case(name: str, fault: str, tmp_path: Path) -> None:
    def script(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer("fine", fault=fault if request.number == 1 else None, usage=(10, 0, 5))

    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind(name, at(fake, name))
            assert (await model.complete(ask("q", max_tokens=50))).text == "fine"
            (spent,) = opened.spending()
            assert (spent.calls, spent.lost) == (2, 1)
            true = (10 * 1.0 + 5 * 2.0) / 1e6
            # "q" is one byte; 512 and 16 are the allowances for framing, 50 the most that may be written.
            worst = ((1 + 512 + 16) * 1.0 + 50 * 2.0) / 1e6
            assert spent.usd == pytest.approx(true + worst)

    with FakeProvider(script) as fake:
        run(work())


def test_a_request_that_is_lost_again_and_again_is_given_up(tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            with pytest.raises(ModelError) as caught:
                await model.complete(ask())
            assert caught.value.reason == "malformed"
            assert opened.spending()[0].lost == fake.ledger.received == 4

    with FakeProvider(lambda _: FakeAnswer("x", fault="malformed")) as fake:
        run(work())


def test_a_server_that_is_not_there_costs_nothing_and_ends_at_the_deadline(tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            settings = ModelSettings(base_url="http://127.0.0.1:9/v1", deadline_s=0.2, input_usd=1, output_usd=1)
            with pytest.raises(ModelError, match="cannot connect") as caught:
                await opened.bind("compat/m", settings).complete(ask())
            assert caught.value.reason == "connection"
            assert opened.spending()[0].usd == 0

    run(work())


def test_many_items_that_are_told_to_come_later_all_arrive(tmp_path: Path) -> None:
    def script(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer("fine") if request.number % 3 else FakeAnswer("not now", 429, retry_after_s=0.05)

    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            await asyncio.gather(*(model.complete(ask(f"{number}")) for number in range(60)))

    with FakeProvider(script) as fake:
        run(work())
    assert fake.ledger.answered == 60
    assert not fake.ledger.repeated
    assert fake.ledger.rejected == 29  # of 89, every third
