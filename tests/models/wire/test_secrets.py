"""A key at any position of any text that a provider returns reaches no file and no message."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.raw_server import Raw, completion, message
from models.support import ask, resolve

from sgforge.errors import ConfigError
from sgforge.models import Gateway, GatewaySettings, ModelError, ModelSettings, find_key
from sgforge.models.provider import Provider
from sgforge.models.wire.api_keys import redact, redact_body
from sgforge.models.wire.failures import http_error, message_of, no_answer

KEY = "sk-Zq/7+w_-0123456789abcdefghijklmnopqrstu"
SHAPES: dict[str, Callable[[str], Any]] = {
    "content": completion,
    "parts": lambda text: completion([{"type": "text", "text": "so"}, {"type": "text", "text": text}]),
    "refusal": lambda text: completion(None, message={"refusal": text}),
    "reasoning": lambda text: completion("", message={"reasoning_content": text}),
    "tool call": lambda text: completion(None, message={"tool_calls": [{"function": {"arguments": text}}]}),
    "model": lambda text: {**completion("fine"), "model": text},
    "another field": lambda text: {**completion("fine"), "debug": {"headers": [text]}},
    "error": lambda text: {"error": {"message": text, "code": 400}},
    "error of a choice": lambda text: completion("", error={"message": text, "code": 400}),
    "no completion": lambda text: {"choices": [], "usage": None, "detail": text},
    "message": message,
    "stop details": lambda text: message([], stop_reason="refusal", stop_details={"explanation": text}),
}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGFORGE_COMPAT_API_KEY", KEY)
    find_key(ModelSettings(), "SGFORGE_COMPAT_API_KEY")


def held(text: str) -> bool:
    """Whether so much of the key stands in a text that it would be of use to somebody."""
    plain = text.replace("\\/", "/")
    return any(KEY[start : start + 12] in plain for start in range(len(KEY) - 12))


class Echo:
    """A provider that gives one body, read as the vendor's."""

    def __init__(self, inner: Provider, raw: Raw) -> None:
        self.inner, self.raw, self.settings = inner, raw, inner.settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def send(self, body: Any) -> bytes:
        if self.raw.status != 200:
            raise http_error(self.raw.status, self.raw.headers, self.raw.body)
        return self.raw.body


BODIES = (
    st.sampled_from(list(SHAPES)),
    st.integers(0, 900),
    st.integers(0, 400),
    st.sampled_from([200, 400, 403, 404, 422]),
    st.sampled_from(["", "\\u", "\\/"]),
)


@settings(max_examples=16, deadline=None)
@given(*BODIES)
def test_a_key_anywhere_in_a_body_stays_in_it(shape: str, before: int, after: int, status: int, escape: str) -> None:
    key_in_a_body_stays_in_it(shape, before, after, status, escape)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(*BODIES)
def test_a_key_anywhere_in_more_bodies_stays_in_it(
    shape: str, before: int, after: int, status: int, escape: str
) -> None:
    key_in_a_body_stays_in_it(shape, before, after, status, escape)


def key_in_a_body_stays_in_it(shape: str, before: int, after: int, status: int, escape: str) -> None:
    text = "x" * before + KEY + "y" * after
    raw = json.dumps(SHAPES[shape](text))
    if escape == "\\/":
        raw = raw.replace("/", "\\/")
    if escape == "\\u":
        raw = raw.replace(KEY[3:9], "".join(f"\\u{ord(letter):04x}" for letter in KEY[3:9]))
    vendor = "anthropic" if shape in ("message", "stop details") else "compat"

    async def work(folder: Path) -> str:
        echo = Echo(resolve(vendor, ModelSettings(base_url="http://127.0.0.1:1")), Raw(raw.encode(), status))
        opened = Gateway.open(folder / "responses.sqlite", GatewaySettings(), lambda name, own: echo)
        async with opened as gateway_:
            try:
                response = await gateway_.bind(f"{vendor}/m", ModelSettings(deadline_s=0.01)).complete(ask())
                return f"{response.text} {response.model} {response.notes} {response.remark}"
            except ModelError as error:
                return f"{error} {error.detail} {error.__cause__!r}"

    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(work(Path(folder)))
        assert not held(told), told
        kept = b"".join(path.read_bytes() for path in Path(folder).iterdir())
        assert not held(kept.decode("utf-8", "replace"))


def tokens(pieces: list[str]) -> Any:
    """A completion whose tokens are told, each with an alternative."""
    told = []
    for piece in pieces:
        alternatives = [{"token": word, "logprob": -0.1, "bytes": list(word.encode())} for word in (piece, "other")]
        told.append({**alternatives[0], "top_logprobs": alternatives})
    return completion("".join(pieces), logprobs={"content": told})


IN_PIECES: dict[str, Callable[[list[str]], Any]] = {
    "parts": lambda pieces: completion([{"type": "text", "text": piece} for piece in pieces]),
    "wrapped parts": lambda pieces: completion([{"type": "text", "text": {"value": piece}} for piece in pieces]),
    "texts": completion,
    "texts and parts": lambda pieces: completion(
        [{"type": "text", "text": piece} if number % 2 else piece for number, piece in enumerate(pieces)]
    ),
    "thinking": lambda pieces: completion([*({"type": "thinking", "thinking": one} for one in pieces), "fine"]),
    "refusal": lambda pieces: completion(None, message={"refusal": pieces}),
    "tokens": tokens,
    "blocks": lambda pieces: message([{"type": "text", "text": piece} for piece in pieces]),
    "another field": lambda pieces: {**completion("fine"), "debug": {"sent": [{"line": piece} for piece in pieces]}},
    "error": lambda pieces: {"error": {"message": pieces, "code": 400}},
    "stream": lambda pieces: [{"choices": [{"delta": {"content": piece}}]} for piece in pieces],
}


def body_of(shape: str, pieces: list[str]) -> bytes:
    value = IN_PIECES[shape](pieces)
    if shape != "stream":
        return json.dumps(value).encode()
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in value).encode() + b"data: [DONE]\n\n"


def put_together(value: Any) -> str:
    """All texts of a JSON value, one behind the other, what says of which kind an item is left out."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        return bytes(value).decode("utf-8", "replace")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return "".join(put_together(item) for name, item in items if name not in ("type", "role", "id"))


PIECES = (st.sampled_from(list(IN_PIECES)), st.sets(st.integers(0, len(KEY) + 8), min_size=1, max_size=9), st.data())


@settings(max_examples=24, deadline=None)
@given(*PIECES)
def test_a_key_in_pieces_stays_in_none_of_them(shape: str, cuts: set[int], data: st.DataObject) -> None:
    key_in_pieces_stays_in_none_of_them(shape, cuts, data)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(*PIECES)
def test_a_key_in_more_pieces_stays_in_none_of_them(shape: str, cuts: set[int], data: st.DataObject) -> None:
    key_in_pieces_stays_in_none_of_them(shape, cuts, data)


def key_in_pieces_stays_in_none_of_them(shape: str, cuts: set[int], data: st.DataObject) -> None:
    whole = f"say {KEY} now"
    ends = [0, *sorted(cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(ends)]
    vendor = "anthropic" if shape == "blocks" else "compat"
    status = data.draw(st.sampled_from([200, 400]))

    async def ask_twice(folder: Path) -> list[str]:
        from sgforge_openai.answers import plain_completion

        # As the provider reads it from its socket.
        raw = body_of(shape, pieces) if vendor == "anthropic" else plain_completion(body_of(shape, pieces))
        echo = Echo(resolve(vendor, ModelSettings(base_url="http://127.0.0.1:1")), Raw(raw, status))
        told = []
        for _ in range(2):
            opened = Gateway.open(folder / "responses.sqlite", GatewaySettings(), lambda name, own: echo)
            async with opened as gateway_:
                try:
                    bound = gateway_.bind(f"{vendor}/m", ModelSettings(deadline_s=0.01))
                    told.append((await bound.complete(ask())).text)
                except ModelError as error:
                    told.append(f"{error} {error.detail}")
        return told

    with tempfile.TemporaryDirectory() as folder:
        first, again = asyncio.run(ask_twice(Path(folder)))
        assert not held(first)
        assert not held(again)
        if status == 200 and shape not in ("thinking", "refusal", "error", "another field"):
            assert (first, again) == ("say [key] now",) * 2
        with closing(sqlite3.connect(Path(folder) / "responses.sqlite")) as base:
            kept = base.execute("SELECT raw FROM response UNION ALL SELECT raw FROM faulty").fetchall()
        for (raw,) in kept:
            assert not held(put_together(json.loads(raw)))


@given(st.text(max_size=300), st.text(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_key_is_masked_before_a_message_is_cut(before: str, after: str) -> None:
    for text in (f"{before}{KEY}{after}", json.dumps({"error": {"message": f"{before}{KEY}{after}"}})):
        body = text.encode("utf-8", "surrogatepass")
        assert not held(message_of(body))
        assert not held(redact(text))
        assert not held(redact_body(body).decode("utf-8", "surrogatepass"))
        failure = no_answer(body)
        assert failure is None or not held(str(failure))


def test_a_redirect_with_a_key_in_its_address_is_masked() -> None:
    assert not held(str(http_error(307, {"location": f"https://a/b?key={KEY}"}, b"")))


@pytest.mark.parametrize("address", ["https://a/b?token=of-somebody", "https://a/b#of-somebody"])
def test_what_stands_behind_an_address_is_not_repeated(address: str) -> None:
    told = str(http_error(307, {"location": address}, b""))
    assert "of-somebody" not in told
    assert "https://a/b," in told


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/v1?key=OF-SOMEBODY", "htp://h/v1?key=OF-SOMEBODY", "h/v1#OF-SOMEBODY", "x://u:OF-SOMEBODY@h"],
)
def test_a_wrong_base_url_is_refused_without_what_may_be_a_key(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ModelSettings(base_url=address)
    assert "OF-SOMEBODY" not in str(caught.value)


def test_without_a_key_in_it_a_body_stays_as_it_is() -> None:
    for raw in (b"", b'{"a": "\\u0041\\/"}', "größer \u2026".encode(), b"\xff\xfe"):
        assert redact_body(raw) == raw


def test_what_is_looked_for_would_be_seen() -> None:
    assert held(f"a{KEY}b")
    assert held(json.dumps(KEY[4:30]))
    assert not held("[key] and sk-Zq")
