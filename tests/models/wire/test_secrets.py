"""A key at any position of any text that a provider returns reaches no file and no message."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.raw_server import Raw, completion, message
from models.support import ask, resolve

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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(list(SHAPES)),
    st.integers(0, 900),
    st.integers(0, 400),
    st.sampled_from([200, 400, 403, 404, 422]),
    st.sampled_from(["", "\\u", "\\/"]),
)
def test_a_key_anywhere_in_a_body_stays_in_it(shape: str, before: int, after: int, status: int, escape: str) -> None:
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


def test_without_a_key_in_it_a_body_stays_as_it_is() -> None:
    for raw in (b"", b'{"a": "\\u0041\\/"}', "größer \u2026".encode(), b"\xff\xfe"):
        assert redact_body(raw) == raw


def test_what_is_looked_for_would_be_seen() -> None:
    assert held(f"a{KEY}b")
    assert held(json.dumps(KEY[4:30]))
    assert not held("[key] and sk-Zq")
