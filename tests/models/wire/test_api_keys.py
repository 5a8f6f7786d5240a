"""Keys come from the environment or a file and go to their own server only; nothing that is written holds one."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from models.support import KEYS, REMOTE, ask, at, gateway, picture, run

from sgforge.models import ModelError, ModelSettings
from sgforge.models.batch.desk import BatchDesk
from sgforge.models.batch.submit import Spooler
from sgforge.models.errors import RunStoppedError
from sgforge.models.wire.api_keys import find_key, redact
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeSettings

ENV = {"openai/m": "OPENAI_API_KEY", "anthropic/m": "ANTHROPIC_API_KEY", "compat/m": "SGFORGE_COMPAT_API_KEY"}


def grep(folder: Path) -> list[str]:
    """Files below a folder that hold a key."""
    keys = [key.encode() for key in KEYS.values()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if any(key in path.read_bytes() for key in keys)]


@pytest.mark.parametrize("name", REMOTE)
def test_no_key_in_anything_that_is_written(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Good answers, refused keys whose echo the server sends back, faults, batches: then everything is searched."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    async def work(fake: FakeProvider) -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind(name, at(fake, name, deadline_s=0.5))
            told.append(repr(model) + repr(opened.settings) + repr(model.caller.provider.settings))
            calls = (model.complete(ask(f"{number}", [picture()])) for number in range(6))
            ends = await asyncio.gather(*calls, return_exceptions=True)
            told.extend(f"{end!r} {end}" for end in ends)
            told.extend(map(repr, opened.spending()))

    async def batch(fake: FakeProvider) -> None:
        async with gateway(tmp_path, Spooler()) as opened:
            with pytest.raises(ModelError):
                await opened.bind(name, at(fake, name)).complete(ask("batched"))
        async with gateway(tmp_path) as opened:
            opened.bind(name, at(fake, name))
            told.append(repr(await BatchDesk(opened).collect()))

    with FakeProvider(settings=FakeSettings(keys=frozenset({KEYS[ENV[name]]}))) as fake:
        run(work(fake))
        assert fake.ledger.answered == 6
    with FakeProvider(settings=FakeSettings(keys=frozenset({"another-key"}))) as fake:
        run(work(fake))
        assert fake.ledger.rejected > 0
    with FakeProvider(lambda _: FakeAnswer(f"you sent {KEYS[ENV[name]]}", 500)) as fake:
        run(work(fake))
    if name != "compat/m":
        with FakeProvider() as fake:
            run(batch(fake))
    captured = capfd.readouterr()
    everything = "\n".join([*told, caplog.text, captured.out, captured.err])
    assert "http_401" in everything
    assert not [key for key in KEYS.values() if key in everything]
    assert not grep(tmp_path)


@pytest.mark.parametrize("name", ["openai/m", "anthropic/m"])
def test_no_key_stops_the_run_and_says_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV[name])

    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind(name, at(fake, name))
            (problem,) = opened.problems()
            assert ENV[name] in problem
            with pytest.raises(RunStoppedError, match=ENV[name]):
                await model.complete(ask())
            assert opened.spending()[0].usd == 0

    with FakeProvider() as fake:
        run(work())
    assert fake.ledger.received == 0


def test_compat_needs_no_key_and_never_takes_another_vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGFORGE_COMPAT_API_KEY")

    async def work() -> str:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            assert opened.problems() == []
            return (await model.complete(ask())).text

    with FakeProvider() as fake:
        assert run(work())
    picky = FakeSettings(keys=frozenset({KEYS["OPENAI_API_KEY"]}))
    with FakeProvider(settings=picky) as fake, pytest.raises(ModelError, match="http_401"):
        run(work_elsewhere(tmp_path / "b", fake))


async def work_elsewhere(folder: Path, fake: FakeProvider) -> None:
    async with gateway(folder) as opened:
        await opened.bind("compat/m", at(fake, "compat")).complete(ask())


def test_compat_without_an_address_is_a_problem(tmp_path: Path) -> None:
    async def work() -> list[str]:
        async with gateway(tmp_path) as opened:
            opened.bind("compat/m", ModelSettings())
            return opened.problems()

    assert "base_url" in run(work())[0]


def test_keys_from_files_and_other_variables(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  from-the-file\n")
    assert find_key(ModelSettings(api_key_file=path), "X", {"X": "from-x"}) == "from-the-file"
    assert find_key(ModelSettings(api_key_env="Y"), "X", {"X": "from-x", "Y": "from-y"}) == "from-y"
    assert find_key(ModelSettings(), "X", {"X": " from-x "}) == "from-x"
    assert find_key(ModelSettings(), "X", {"X": "  "}) is None
    assert find_key(ModelSettings(), "X", {}) is None
    assert redact("a from-the-file b") == "a [key] b"
    for content in ("", "two\nlines"):
        path.write_text(content)
        with pytest.raises(RunStoppedError, match="one line") as caught:
            find_key(ModelSettings(api_key_file=path), "X", {})
        assert "two" not in str(caught.value)
    with pytest.raises(RunStoppedError, match="cannot be read"):
        find_key(ModelSettings(api_key_file=tmp_path / "none"), "X", {})
