"""What a provider can do depends on the model: those that reason refuse sampling and token probabilities."""

from __future__ import annotations

from pathlib import Path

import pytest
from models.support import ask, at, gateway, resolve, run

from sgforge.models import ModelError, ModelSettings
from sgforge.testing.fake_provider import FakeProvider

REASONING = ("gpt-5", "gpt-5-mini-2025-08-07", "gpt-5.6-luna", "gpt-6-luna", "gpt-6.2-sol", "o3", "o4-mini")
PLAIN = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5-chat-latest", "ft:gpt-4o-2024-08-06:us::x", "gpt-35-turbo", "m")


@pytest.mark.parametrize("model", [*REASONING, *PLAIN])
def test_openai_models_that_reason_give_no_probabilities(model: str) -> None:
    provider = resolve("openai", ModelSettings())
    can = provider.capabilities(model)
    assert can.probabilities == (model in PLAIN)
    assert ("temperature" in can.sampling) == (model in PLAIN)
    body = provider.body(model, ask(choices=("yes", "no")), lambda part: ("", ""))
    assert ("logprobs" in body) == ("top_logprobs" in body) == (model in PLAIN)
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


@pytest.mark.parametrize("name", ["openai", "compat"])
@pytest.mark.parametrize("given", [True, False])
def test_the_settings_know_better(name: str, given: bool) -> None:
    provider = resolve(name, ModelSettings(probabilities=given))
    for model in ("gpt-6-luna", "gpt-4o"):
        assert provider.capabilities(model).probabilities == given
        assert ("logprobs" in provider.body(model, ask(choices=("yes",)), lambda part: ("", ""))) == given


@pytest.mark.parametrize("name", ["openai/gpt-6-luna", "anthropic/claude-sonnet-5-5"])
def test_a_temperature_that_would_be_refused_is_never_sent(name: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            with pytest.raises(ModelError, match=f"{name} does not take temperature: leave it out"):
                await opened.bind(name, at(fake, name)).complete(ask(temperature=0.5))

    with FakeProvider() as fake:
        run(work())
    assert fake.ledger.received == 0
