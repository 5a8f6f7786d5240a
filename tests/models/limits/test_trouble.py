"""A provider that fails again and again is told of while the run goes on: how often and why, now and then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from models.support import REMOTE, ask, at, resolve, run

from sgforge.models import Gateway, GatewaySettings, ModelError
from sgforge.models.errors import ProviderError
from sgforge.models.limits.trouble import Trouble
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest

DOWN = ProviderError("x", status=500)


def told_of(*failures: tuple[float, str, ProviderError]) -> list[str]:
    lines: list[str] = []
    trouble = Trouble(lines.append)
    for now, model, error in failures:
        trouble.failed(model, error, now)
    return lines


def test_a_try_or_two_that_fail_are_not_told() -> None:
    assert told_of((0.0, "m", DOWN), (100.0, "m", DOWN)) == []


def test_many_are_told_once_in_a_while_with_their_number() -> None:
    """Two a second for twelve seconds: after the third, then every five seconds all since the last line."""
    lines = told_of(*((number / 2, "m", DOWN) for number in range(24)))
    assert lines == [
        "m: 3 tries failed with HTTP 500",  # at 1.0 s
        "m: 10 tries failed with HTTP 500",  # at 6.0 s
        "m: 10 tries failed with HTTP 500",  # at 11.0 s
    ]


def test_each_model_and_each_reason_is_told_the_most_frequent_first() -> None:
    late = ProviderError("x", maybe_billed=True, reason="timeout")
    lost = ProviderError("x")
    lines = told_of(
        (0, "a", late), (0, "b", DOWN), (0, "a", late), (0, "b", DOWN), (0, "a", DOWN), (0, "b", lost), (9, "a", lost)
    )
    assert lines == [
        "a: 3 tries failed with no answer in time (2), HTTP 500 (1)",
        "b: 3 tries failed with HTTP 500 (2), no connection (1)",
    ]


def test_without_a_listener_nothing_is_kept() -> None:
    trouble = Trouble(None)
    trouble.failed("m", DOWN, 0.0)
    assert trouble._models == {}


@pytest.mark.parametrize("name", REMOTE)
def test_a_run_hears_of_a_server_that_fails(name: str, tmp_path: Path) -> None:
    lines: list[str] = []

    def script(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer("down", 500, retry_after_s=0.01) if request.number <= 12 else FakeAnswer("fine")

    async def work() -> None:
        path = tmp_path / "responses.sqlite"
        async with Gateway.open(path, GatewaySettings(), resolve, tell=lines.append) as opened:
            model = opened.bind(name, at(fake, name))
            await asyncio.gather(*(model.complete(ask(f"{number}")) for number in range(4)))

    with FakeProvider(script) as fake:
        run(work())
    # Told while the calls were still going on; how often depends on how long twelve tries take.
    assert lines
    assert all(line.startswith(f"{name}: ") and line.endswith("tries failed with HTTP 500") for line in lines)


def test_a_refusal_that_ends_its_item_counts_too(tmp_path: Path) -> None:
    lines: list[str] = []

    async def work() -> None:
        async with Gateway.open(tmp_path / "r.sqlite", GatewaySettings(), resolve, tell=lines.append) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            for number in range(3):
                with pytest.raises(ModelError):
                    await model.complete(ask(f"{number}"))

    with FakeProvider(lambda _: FakeAnswer("too long", 400)) as fake:
        run(work())
    assert lines == ["compat/m: 3 tries failed with HTTP 400"]
