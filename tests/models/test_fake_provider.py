"""The fake provider itself: real SDKs understand it, and what it makes up satisfies the schema it was given."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from models.support import run

from sgforge.testing.fake_provider import FAULTS, FakeAnswer, FakeProvider, FakeSettings
from sgforge.testing.fake_provider.faults import Window, pick_fault
from sgforge.testing.fake_provider.instances import instance

leaves = st.one_of(
    st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-5, 5),
        st.integers(0, 9),
    ),
    st.builds(lambda low: {"type": "integer", "exclusiveMinimum": low}, st.integers(-5, 5)),
    st.builds(lambda low: {"type": "number", "minimum": low}, st.integers(-5, 5)),
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more}, *[st.integers(0, 9)] * 2
    ),
    st.just({"type": ["string", "null"]}),
    st.just({"type": "boolean"}),
    st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=5), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.integers()),
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda item, low, more: {"type": "array", "items": item, "minItems": low, "maxItems": low + more},
            inner,
            st.integers(0, 4),
            st.integers(0, 4),
        ),
        st.builds(
            lambda props: {
                "type": "object",
                "properties": props,
                "required": list(props),
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from(["label", "predicate", "regions", "x"]), inner, max_size=3),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=6,
)


@given(schema=schemas, seed=st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_instances_are_valid_and_repeatable(schema: dict[str, Any], seed: int) -> None:
    made = instance(schema, random.Random(seed))
    Draft202012Validator(schema).validate(made)
    assert instance(schema, random.Random(seed)) == made


def test_references_are_followed() -> None:
    schema = {
        "$ref": "#/$defs/pair",
        "$defs": {
            "pair": {"type": "array", "items": {"$ref": "#/$defs/one"}, "minItems": 2},
            "one": {"type": "integer", "minimum": 7, "maximum": 7},
        },
    }
    assert set(instance(schema, random.Random(0))) == {7}


def test_the_vendors_sdks_understand_it() -> None:
    import anthropic
    import openai

    async def work() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=fake.openai_url, max_retries=0) as client:
            chat = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            assert chat.choices[0].message.content == "hello"
            assert chat.usage is not None
            assert chat.usage.total_tokens > 0
        async with anthropic.AsyncAnthropic(api_key="k", base_url=fake.anthropic_url, max_retries=0) as other:
            message = await other.messages.create(
                model="m", max_tokens=10, messages=[{"role": "user", "content": "hi"}]
            )
            assert message.content[0].text == "hello"  # type: ignore[union-attr]
            assert message.stop_reason == "end_turn"

    with FakeProvider(lambda _: FakeAnswer("hello")) as fake:
        run(work())
    assert [entry.path for entry in fake.ledger.entries] == ["/v1/chat/completions", "/v1/messages"]


def test_faults_fall_by_their_shares_and_always_the_same() -> None:
    knobs = FakeSettings(shares={"reset": 0.2, "http_500": 0.1}, seed=1)
    drawn = [pick_fault(knobs, number) for number in range(5000)]
    assert drawn == [pick_fault(knobs, number) for number in range(5000)]
    assert drawn.count("reset") == pytest.approx(1000, rel=0.15)
    assert drawn.count("http_500") == pytest.approx(500, rel=0.2)
    with pytest.raises(ValueError, match="nonsense"):
        FakeSettings(shares={"nonsense": 0.1})
    assert len(set(FAULTS)) == len(FAULTS)


def test_a_window_lets_its_limit_in() -> None:
    window = Window(3, 1.0)
    assert [window.admits(at) for at in (0.0, 0.1, 0.2, 0.9, 1.0, 1.5)] == [True, True, True, False, True, True]


def test_what_comes_after_a_full_window_is_told_when_to_come_again() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    with FakeProvider(settings=FakeSettings(limit=2, window_s=1e9, retry_after_s=7.0)) as fake:
        url = f"{fake.openai_url}/chat/completions"
        for _ in range(2):
            with urllib.request.urlopen(urllib.request.Request(url, body)) as response:
                assert response.status == 200
        with pytest.raises(urllib.error.HTTPError, match="429") as caught:
            urllib.request.urlopen(urllib.request.Request(url, body))
        caught.value.close()
    assert caught.value.headers["Retry-After"] == "7"
    assert (fake.ledger.answered, fake.ledger.rejected) == (2, 1)


def test_it_runs_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "sgforge.testing.fake_provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", child.stdout.readline())
            assert found is not None
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "is it?"}]}).encode()
            request = urllib.request.Request(f"{found.group()}/v1/chat/completions", body)
            with urllib.request.urlopen(request) as response:
                assert json.load(response)["choices"][0]["message"]["content"] in ("yes", "no")
            with urllib.request.urlopen(f"{found.group()}/ledger") as response:
                assert json.load(response)["answered"] == 1
        finally:
            child.terminate()


def test_starting_on_a_taken_port_is_an_error() -> None:
    with FakeProvider() as fake, pytest.raises(OSError, match="address"), FakeProvider(port=fake.port):
        pass


def test_it_stops_with_calls_under_way() -> None:
    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        assert b"400" in await reader.readline()
        writer.close()

    with FakeProvider(settings=FakeSettings(latency_s=30)) as fake:
        run(work())
