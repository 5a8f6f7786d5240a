"""What the settings of a model add to its requests, and that answers are named by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from models.raw_server import Raw, RawServer, completion, message
from models.support import SCHEMA, ask, gateway, resolve, run

from sgforge.errors import ConfigError
from sgforge.models import ModelError, ModelSettings

GOOD = '{"label": "dog", "count": 2}'
SAYS = "Answer with one JSON value"


def asked(folder: Path, model: str, answers: list[str], **settings: Any) -> list[dict[str, Any]]:
    """The bodies that one request (and its repair) sends."""
    body = message if model.startswith("anthropic") else completion
    waiting = iter(answers)
    with RawServer(lambda _: Raw(json.dumps(body(next(waiting))).encode())) as server:

        async def work() -> None:
            async with gateway(folder) as opened:
                bound = opened.bind(model, ModelSettings(base_url=server.url(model), **settings))
                await bound.complete(ask(schema=SCHEMA))

        run(work())
        return server.bodies


def words(body: dict[str, Any]) -> str:
    return json.dumps(body["messages"])


def test_a_server_that_is_not_known_to_enforce_schemas_has_it_in_words(tmp_path: Path) -> None:
    (body,) = asked(tmp_path / "compat", "compat/m", [GOOD])
    assert SAYS in words(body)
    assert json.dumps(json.dumps(SCHEMA, separators=(",", ":")))[1:-1] in words(body)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    for model in ("openai/m", "anthropic/m"):
        (body,) = asked(tmp_path / model, model, [GOOD])
        assert SAYS not in words(body)
    (body,) = asked(tmp_path / "told", "compat/m", [GOOD], schema_in_prompt=False)
    assert SAYS not in words(body)
    (body,) = asked(tmp_path / "other", "openai/m", [GOOD], schema_in_prompt=True)
    assert SAYS in words(body)


@pytest.mark.parametrize("model", ["compat/m", "openai/m", "anthropic/m"])
def test_every_repair_has_the_schema_in_words(model: str, tmp_path: Path) -> None:
    _, repair = asked(tmp_path / "auto", model, ["no json", GOOD])
    assert words(repair["messages"] and {"messages": repair["messages"][-1:]}).count(SAYS) == 1
    _, repair = asked(tmp_path / "never", model, ["no json", GOOD], schema_in_prompt=False)
    assert SAYS not in words(repair)


def test_what_is_decided_for_a_model_is_stored(tmp_path: Path) -> None:
    asked(tmp_path, "compat/m", [GOOD])

    async def stored() -> list[Any]:
        async with gateway(tmp_path) as opened:
            return opened.store.read("SELECT name, value FROM meta WHERE name LIKE 'schema%'")

    assert run(stored()) == [("schema_in_prompt compat/m", "true")]


@pytest.mark.parametrize(
    ("model", "settings", "sent"),
    [
        ("compat/m", {"effort": "low"}, {"reasoning_effort": "low"}),
        ("openai/m", {"effort": "low"}, {"reasoning_effort": "low"}),
        ("compat/m", {"thinking": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("anthropic/m", {"thinking": True}, {"thinking": {"type": "adaptive"}}),
        ("anthropic/m", {"thinking": False}, {"thinking": {"type": "disabled"}}),
        ("compat/m", {"extra_body": {"top_k": 20}}, {"top_k": 20}),
        ("openai/m", {"extra_body": {"service_tier": "flex"}}, {"service_tier": "flex"}),
        ("anthropic/m", {"extra_body": {"service_tier": "auto"}}, {"service_tier": "auto"}),
    ],
)
def test_settings_are_sent_and_name_the_answer(
    model: str, settings: dict[str, Any], sent: dict[str, Any], tmp_path: Path
) -> None:
    (body,) = asked(tmp_path, model, [GOOD], **settings)
    assert {name: body[name] for name in sent} == sent
    name, _, rest = model.partition("/")
    plain = ModelSettings(base_url="http://a")
    own = attrs.evolve(plain, **settings)
    assert resolve(name, own).identity(rest) != resolve(name, plain).identity(rest)
    assert resolve(name, plain).identity(rest) == "http://a"


def test_what_cannot_be_sent_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="for openai/ effort says how much it thinks"):
        asked(tmp_path, "openai/m", [GOOD], thinking=True)
    with pytest.raises(ConfigError, match="extra_body may not hold messages, stream: the gateway sets it"):
        ModelSettings(extra_body={"stream": True, "messages": []})
