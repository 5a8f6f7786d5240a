"""A server that is not there, and a person who stops: calls that wait for another try end at once, unpaid."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from models.support import REMOTE, ask, at, gateway, run

import sgforge.models.limits.circuit_breaker
from sgforge.models import ModelError, ModelSettings
from sgforge.models.errors import NotSentError, ProviderError, RunStoppedError
from sgforge.models.limits.circuit_breaker import Guard
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeSettings


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A loopback port that nothing listens on, nor can: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("name", REMOTE)
def test_a_server_that_is_not_there_stops_the_run(
    name: str, closed_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sgforge.models.limits.circuit_breaker, "UNREACHED_S", 0.5)
    settings = ModelSettings(base_url=f"http://127.0.0.1:{closed_port}/v1", input_usd=1.0, output_usd=1.0)

    async def main() -> list[object]:
        async with gateway(tmp_path, budget_usd=1.0) as opened:
            model = opened.bind(name, settings)
            asked = (model.complete(ask(str(number))) for number in range(6))
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert opened.spent_usd() == 0.0
            return list(found)

    # deadline_s is half an hour: without the guard this would not end.
    for error in run(main()):
        assert isinstance(error, ModelError)
        assert error.stops_run
        assert error.reason == "unreachable"
        assert "whether it runs and whether base_url is right" in error.detail


def test_only_refusals_in_a_row_stop_a_run() -> None:
    guard = Guard(3)
    refusal = ProviderError("no such key", status=401)
    for _ in range(4):
        guard.refused("m", refusal)
        guard.refused("m", refusal)
        guard.answered("m")
    guard.check()
    for _ in range(3):
        guard.refused("m", refusal)
    with pytest.raises(RunStoppedError, match="refused 3 calls in a row with HTTP 401"):
        guard.check()


def test_a_server_that_answered_before_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgforge.models.limits.circuit_breaker, "UNREACHED_S", 0.1)

    async def main() -> None:
        async with gateway(tmp_path) as opened:
            with FakeProvider(settings=FakeSettings(latency_s=0.0)) as fake:
                model = opened.bind("compat/m", at(fake, "compat/m", deadline_s=3.0))
                await model.complete(ask("first"))
            with pytest.raises(ModelError) as caught:
                await model.complete(ask("second"))
            assert not caught.value.stops_run
            assert "cannot connect" in caught.value.detail

    run(main())


def test_a_halt_ends_what_waits_and_keeps_what_is_under_way(tmp_path: Path) -> None:
    def script(request: object) -> FakeAnswer:
        if "slow" in str(getattr(request, "text", "")):
            return FakeAnswer("done", delay_s=1.0)
        return FakeAnswer("overloaded", status=503, retry_after_s=600.0)

    async def main() -> None:
        with FakeProvider(script, FakeSettings(latency_s=0.0)) as fake:
            async with gateway(tmp_path) as opened:
                model = opened.bind("compat/m", at(fake, "compat/m", deadline_s=3600.0))
                waiting = asyncio.create_task(model.complete(ask("again and again")))
                slow = asyncio.create_task(model.complete(ask("slow")))
                while fake.ledger.received < 2:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                opened.stop_sending()
                with pytest.raises(NotSentError):
                    await waiting
                assert (await slow).text == "done"

    run(main())


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "localhost/v1", "file:///etc/passwd", ""])
def test_a_base_url_is_a_web_address(address: str) -> None:
    with pytest.raises(ValueError, match="must start with http"):
        ModelSettings(base_url=address)


def test_a_base_url_holds_no_password_and_none_is_told() -> None:
    with pytest.raises(ValueError, match="must hold no user and no password") as caught:
        ModelSettings(base_url="https://me:secret-word@host/v1")
    assert "secret-word" not in str(caught.value)
