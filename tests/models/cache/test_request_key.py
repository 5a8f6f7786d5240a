"""The key of a request holds everything that can change its answer, and nothing else."""

from __future__ import annotations

import attrs
import pytest
from models.support import SCHEMA, TARGETS, ask, at, picture, resolve

from sgforge.models import ChatRequest, ImagePart, Message, ModelSettings, TextPart
from sgforge.models.cache.request_key import call_id, request_key
from sgforge.models.wire.pictures import Fit
from sgforge.testing.fake_provider import FakeProvider

BASE = ask("hello", [picture()], schema=SCHEMA)


@pytest.mark.parametrize(
    "other",
    [
        ask("hello!", [picture()], schema=SCHEMA),
        ask("hello", [picture(color=(10, 200, 30))], schema=SCHEMA),
        ask("hello", [], schema=SCHEMA),
        ask("hello", [picture()]),
        ask("hello", [picture()], schema={**SCHEMA, "title": "x"}),
        attrs.evolve(BASE, max_tokens=51),
        attrs.evolve(BASE, temperature=0.0),
        attrs.evolve(BASE, top_p=0.5),
        attrs.evolve(BASE, seed=0),
        attrs.evolve(BASE, stop=("x",)),
        attrs.evolve(BASE, effort="low"),
        attrs.evolve(BASE, choices=("yes", "no")),
        attrs.evolve(BASE, ordinal=1),
        ChatRequest((Message("assistant", BASE.messages[0].parts),), SCHEMA, 50),
        ChatRequest((Message("user", tuple(reversed(BASE.messages[0].parts))),), SCHEMA, 50),
    ],
)
def test_everything_that_changes_the_answer_changes_the_key(other: ChatRequest) -> None:
    assert request_key("p/m", None, other) != request_key("p/m", None, BASE)


def test_model_and_server_change_the_key() -> None:
    keys = {
        request_key(name, where, BASE) for name in ("p/m", "q/m", "p/n") for where in (None, "http://a", "http://b")
    }
    assert len(keys) == 9


def test_equal_requests_built_apart_have_one_key() -> None:
    again = ChatRequest(
        [Message("user", [ImagePart.from_bytes(picture().load(), "elsewhere"), TextPart("hello")])],
        schema={**SCHEMA},
        max_tokens=50,
    )
    assert request_key("p/m", None, again) == request_key("p/m", None, BASE)
    assert request_key("p/m", None, attrs.evolve(BASE, temperature=0)) == request_key(
        "p/m", None, attrs.evolve(BASE, temperature=0.0)
    )


def test_a_smaller_picture_of_an_image_is_another_image() -> None:
    """Limits are in the key of those requests only whose images they change."""
    keys = [request_key("p/m", None, BASE, fit) for fit in (Fit(), Fit(32), Fit(100, 10**6))]
    assert set(keys) == {request_key("p/m", None, BASE)}
    smaller = [request_key("p/m", None, BASE, fit) for fit in (Fit(31), Fit(16), Fit(None, 100))]
    assert len({*keys, *smaller}) == 4


def test_two_texts_are_not_one_joined_text() -> None:
    apart = ChatRequest((Message("user", (TextPart("ab"), TextPart("c"))),))
    other = ChatRequest((Message("user", (TextPart("a"), TextPart("bc"))),))
    assert request_key("p/m", None, apart) != request_key("p/m", None, other)


def test_a_call_id_is_the_start_of_its_key() -> None:
    key = request_key("p/m", None, BASE)
    assert key.hex().startswith(call_id(key))
    assert len(call_id(key)) == 32


@pytest.mark.parametrize(
    ("name", "own"), [("openai", "https://api.openai.com/v1/"), ("anthropic", "https://api.anthropic.com")]
)
def test_the_vendors_own_address_is_not_in_the_key(name: str, own: str) -> None:
    assert resolve(name, ModelSettings()).identity("m") is None
    assert resolve(name, ModelSettings(base_url=own)).identity("m") is None
    assert resolve(name, ModelSettings(base_url="http://other/v1/")).identity("m") == "http://other/v1"


def test_settings_are_not_in_the_key() -> None:
    with FakeProvider() as fake:
        for name in ("compat", "openai", "anthropic"):
            plain = resolve(name, at(fake, name)).identity("m")
            tuned = at(fake, name, max_in_flight=7, timeout_s=3.0, requests_per_minute=9.0, api_key_env="OTHER")
            assert resolve(name, tuned).identity("m") == plain
    assert set(TARGETS) == {"compat", "openai", "anthropic", "hf"}
