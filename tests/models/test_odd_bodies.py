"""Bodies that are no usual answers, over a real socket: each is judged by what it says, and none breaks a budget."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from models.raw_server import Raw, RawServer, completion, message
from models.support import KEYS, SCHEMA, ask, gateway, run

from sgforge.models import ChatResponse, ModelError, ModelSettings
from sgforge.models.errors import BudgetReachedError
from sgforge.models.money.ledger import find_faulty

WORST = (len("what is it?") + 512 + 16) / 1e6 + 50 * 2 / 1e6
"""USD of `ask()` at its worst: a token a byte with the allowances for framing, and all that it may write."""
GOOD = '{"label": "dog", "count": 2}'
USAGES: tuple[Any, ...] = (
    *({}, [], "many", 5, {"total_tokens": 9}, {"prompt_tokens": None, "completion_tokens": None}),
    *({"prompt_tokens": 10, "completion_tokens": -5_000_000}, {"prompt_tokens": 10**20, "completion_tokens": 1}),
    *({"prompt_tokens": 1.5, "completion_tokens": 2}, {"input_tokens": None, "output_tokens": None}),
    {"input_tokens": -1, "output_tokens": 10**20},
)


def settings(server: RawServer, model: str, **fields: Any) -> ModelSettings:
    return ModelSettings(
        base_url=server.url(model), **{"input_usd": 1.0, "output_usd": 2.0, "image_tokens": 500, **fields}
    )


def attempt(folder: Path, server: RawServer, model: str = "compat/m", *, fields: Any = (), **own: Any) -> ChatResponse:
    """One request through a gateway of its own; the sum of the ledger is left in `attempt.spent`."""

    async def work() -> ChatResponse:
        async with gateway(folder, **own) as opened:
            try:
                return await opened.bind(model, settings(server, model)).complete(ask(**dict(fields)))
            finally:
                spent.append(opened.spending()[0].usd if opened.spending() else 0.0)

    return run(work())


spent: list[float] = []


def bytes_of(body: Any) -> Raw:
    return Raw(body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize("model", ["compat/m", "openai/m", "anthropic/m"])
def test_an_answer_with_odd_usage_is_kept_and_booked_at_its_worst(model: str, tmp_path: Path) -> None:
    body = message if model.startswith("anthropic") else completion
    for number, usage in enumerate(USAGES):
        folder = tmp_path / f"{number}"
        with RawServer(lambda _, usage=usage: bytes_of(body("fine", usage))) as server:  # type: ignore[misc]
            assert attempt(folder, server, model, budget_usd=1.0).text == "fine"
            assert spent[-1] == pytest.approx(WORST)
            assert attempt(folder, server, model, budget_usd=1.0).cached
            assert len(server.bodies) == 1


def test_no_usage_lowers_the_account(tmp_path: Path) -> None:
    """A server that pays tokens back buys nobody an endless run."""

    async def work() -> int:
        async with gateway(tmp_path, budget_usd=20 * WORST) as opened:
            model = opened.bind("compat/m", settings(server, "compat/m"))
            asked = [model.complete(ask(f"{number:011}")) for number in range(60)]
            ends = await asyncio.gather(*asked, return_exceptions=True)
            assert opened.spending()[0].usd <= 20 * WORST
            return sum(isinstance(end, BudgetReachedError) for end in ends)

    usage = {"prompt_tokens": 1000, "completion_tokens": -5_000_000}
    with RawServer(lambda _: bytes_of(completion("fine", usage))) as server:
        assert run(work()) == 40
        assert len(server.bodies) == 20


READ: dict[str, Any] = {
    "lone surrogate": b'{"choices": [{"message": {"content": "a \\ud83d b"}}], "usage": null}',
    "invalid byte": b'{"choices": [{"message": {"content": "a \xff b"}}], "usage": null}',
    "NaN beside it": b'{"choices": [{"message": {"content": "a \\ufffd b"}, "score": NaN}], "x": -Infinity}',
    "byte order mark": b'\xef\xbb\xbf{"choices": [{"message": {"content": "a \\ufffd b"}}]}',
    "stream": b'data: {"choices": [{"delta": {"content": "a "}}]}\n\ndata: {"choices": [{"delta": {"content": '
    b'"\\ufffd b"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n'
    b"data: [DONE]\n",
    "parts": completion([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a \ufffd b"}]),
    "null error": {**completion("a \ufffd b"), "error": None},
    "choices as an object": {"choices": {"message": {"content": "a \ufffd b"}}},
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("model", ["compat/m", "openai/m"])
def test_what_can_be_read_is_read_at_the_first_try(case: str, model: str, tmp_path: Path) -> None:
    with RawServer(lambda _: bytes_of(READ[case])) as server:
        assert attempt(tmp_path, server, model).text == "a \ufffd b"
        assert len(server.bodies) == 1


def test_201_is_an_answer(tmp_path: Path) -> None:
    for model in ("compat/m", "openai/m"):
        with RawServer(lambda _: Raw(json.dumps(completion()).encode(), 201)) as server:
            assert attempt(tmp_path / model, server, model).text == "fine"


ONCE: dict[str, tuple[Any, str, str]] = {
    "no choices": ({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, "malformed", "choices are"),
    "null choices": ({"choices": None, "usage": None}, "malformed", "choices are"),
    "a number": (b"5", "malformed", "not an object"),
    "words": (b"OK", "malformed", "not an answer"),
    "an error of its own": ({"error": {"message": "the dog ate it"}}, "error_in_200", "the dog ate it"),
    "moderation": ({"error": {"code": 403, "message": "flagged by moderation"}}, "http_403", "flagged"),
    "a picture it cannot read": ({"error": {"code": 400, "message": "cannot decode image"}}, "http_400", "image"),
    "a page": (b"<html><body>Welcome to nginx!</body></html>", "malformed", "Welcome to nginx"),
}


@pytest.mark.parametrize("case", ONCE)
def test_what_nobody_will_ever_read_is_asked_once(case: str, tmp_path: Path) -> None:
    body, reason, words = ONCE[case]
    with RawServer(lambda _: bytes_of(body)) as server:
        with pytest.raises(ModelError, match=words) as caught:
            attempt(tmp_path, server)
        assert (caught.value.reason, caught.value.stops_run) == (reason, False)
        assert len(server.bodies) == 1


@pytest.mark.parametrize("code", [402, "402", "insufficient_quota", 401])
def test_what_every_call_would_get_stops_the_run_from_within_a_200(code: Any, tmp_path: Path) -> None:
    with RawServer(lambda _: bytes_of({"error": {"code": code, "message": "no more"}})) as server:

        async def work() -> list[bool]:
            async with gateway(tmp_path) as opened:
                model, stops = opened.bind("compat/m", settings(server, "compat/m")), []
                for number in range(4):
                    with pytest.raises(ModelError) as caught:
                        await model.complete(ask(f"{number}"))
                    stops.append(caught.value.stops_run)
                assert opened.spent_usd() == 0
                return stops

        assert run(work()) == [False, False, True, True]
        assert len(server.bodies) == 3


@pytest.mark.parametrize("code", [429, 502, "rate_limit_exceeded", "server_error"])
def test_what_passes_is_tried_again_unbilled(code: Any, tmp_path: Path) -> None:
    bodies = iter([{"error": {"code": code, "message": "later"}}, completion()])
    with RawServer(lambda _: bytes_of(next(bodies))) as server:
        assert attempt(tmp_path, server).text == "fine"
        assert spent[-1] == pytest.approx((10 + 2 * 5) / 1e6)
        assert len(server.bodies) == 2


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    for model in ("compat/m", "openai/m", "anthropic/m"):
        with RawServer(lambda _: bytes_of(completion())) as other:
            away = Raw(b"", 307, {"Location": f"{other.root}/v1/chat/completions"})
            with RawServer(lambda _, away=away: away) as server:  # type: ignore[misc]
                with pytest.raises(ModelError, match="give that address as base_url") as caught:
                    attempt(tmp_path / model, server, model)
                assert caught.value.reason == "http_307"
            assert other.paths == []


def test_a_body_that_was_paid_is_kept_with_its_fault_and_read_when_it_can_be(tmp_path: Path) -> None:
    """What an earlier reader stored as no use is read again, without a call."""
    with RawServer(lambda _: bytes_of(completion(f"Sure! {GOOD}"))) as server:

        async def break_it() -> None:
            async with gateway(tmp_path) as opened:
                # As a version that did not find JSON in prose has left it.
                await opened.store.write(
                    lambda db: db.execute("UPDATE response SET outcome = 'invalid', detail = 'not JSON'")
                )

        fields = {"schema": SCHEMA}
        assert attempt(tmp_path, server, fields=fields).parsed == json.loads(GOOD)
        run(break_it())
        with pytest.raises(ModelError, match="answered before"):
            attempt(tmp_path, server, fields=fields)
        assert attempt(tmp_path, server, fields=fields, reread=True).parsed == json.loads(GOOD)
        assert attempt(tmp_path, server, fields=fields).cached
        assert len(server.bodies) == 1


def test_all_bodies_of_tries_that_came_to_nothing_are_kept(tmp_path: Path) -> None:
    half = json.dumps(completion(GOOD)).encode()[:60]
    bodies = [half, b"<html>502 Bad Gateway</html>", json.dumps(completion("no json")).encode(), b'{"choices": []}']
    waiting = iter(bodies)
    with RawServer(lambda _: Raw(next(waiting))) as server:
        with pytest.raises(ModelError, match="malformed"):
            attempt(tmp_path, server, fields={"schema": SCHEMA})

        async def kept() -> list[bytes]:
            async with gateway(tmp_path) as opened:
                key = await opened.bind("compat/m", settings(server, "compat/m")).key(ask(schema=SCHEMA))
                rows = opened.store.read("SELECT raw FROM response")
                return [*reversed(find_faulty(opened.store, key)), *(row[0] for row in rows)]

        assert run(kept()) == bodies


def test_no_key_reaches_the_file_or_the_message(tmp_path: Path) -> None:
    key = KEYS["SGFORGE_COMPAT_API_KEY"]
    body = {**completion(f"your key is {key}"), "debug": {"Authorization": f"Bearer {key}"}}
    with RawServer(lambda _: bytes_of(body)) as server:
        assert attempt(tmp_path, server).text == "your key is [key]"
        assert server.headers[0]["Authorization"] == f"Bearer {key}"
    assert not any(key.encode() in path.read_bytes() for path in tmp_path.iterdir())
