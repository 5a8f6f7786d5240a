"""What was paid stays found: with more room, by a later version, over a file of an earlier one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from models.support import ask, at, gateway, run

from sgforge.models import ChatResponse, ModelError
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider


def attempt(folder: Path, fake: FakeProvider, max_tokens: int, text: str = "q") -> ChatResponse:
    async def work() -> ChatResponse:
        async with gateway(folder) as opened:
            return await opened.bind("compat/m", at(fake, "compat")).complete(ask(text, max_tokens=max_tokens))

    return run(work())


def test_more_room_buys_only_what_was_cut_off(tmp_path: Path) -> None:
    def script(request: object) -> FakeAnswer:
        is_cut = "long" in request.text and request.max_tokens == 50  # type: ignore[attr-defined]
        return FakeAnswer("half of i" if is_cut else "whole", finish="length" if is_cut else "stop")

    with FakeProvider(script) as fake:
        assert attempt(tmp_path, fake, 50).text == "whole"
        with pytest.raises(ModelError, match="raise max_tokens"):
            attempt(tmp_path, fake, 50, "long")
        assert fake.ledger.received == 2
        assert attempt(tmp_path, fake, 100).cached
        assert attempt(tmp_path, fake, 100, "long").text == "whole"
        assert fake.ledger.received == 3
        # And with less room again, what was bought with more of it stands for both.
        assert attempt(tmp_path, fake, 50).cached
        assert attempt(tmp_path, fake, 50, "long").text == "whole"
        assert fake.ledger.received == 3


@pytest.mark.parametrize("raised", [False, True])
def test_a_file_of_an_earlier_version_serves_a_run_without_a_call(raised: bool, tmp_path: Path) -> None:
    with FakeProvider(lambda _: FakeAnswer("whole")) as fake:
        for number in range(20):
            attempt(tmp_path, fake, 4096, f"{number}")
        with closing(sqlite3.connect(tmp_path / "responses.sqlite")) as file, file:
            # What the file had before: no index without max_tokens, no bodies beside the answers.
            file.executescript("DROP TABLE any_limit; DROP TABLE faulty; DELETE FROM meta WHERE name != 'version'")
        for number in range(20):
            assert attempt(tmp_path, fake, 8192 if raised else 4096, f"{number}").cached
        assert fake.ledger.received == 20
