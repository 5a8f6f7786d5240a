"""A budget that holds the answers and not their worst cases: all are bought, never over, never stuck."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from models.support import ask, at, gateway, run
from support.waiting import LONGEST

from sgforge.cli.main import main
from sgforge.group_commit import Operation
from sgforge.models import ModelError
from sgforge.models.cache.store import Store
from sgforge.models.errors import BudgetReachedError
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings

COUNT, TOKENS = 200, 100
GIVEN = 600
EACH = (GIVEN * 1.0 + TOKENS * 20.0) / 1e6
"""USD of an answer. Its input is bound by about as many tokens as it has, its output by twenty times as many."""


def answer(request: FakeRequest) -> FakeAnswer:
    room = request.max_tokens or 0
    is_long = "long" in request.text
    written = 10 * TOKENS if is_long else TOKENS
    cut = written > room
    return FakeAnswer("x" if cut else "fine", usage=(GIVEN, 0, min(written, room)), finish="length" if cut else "stop")


@pytest.mark.parametrize("is_told_late", [False, True])
@pytest.mark.parametrize(("share", "least"), [(1.0, COUNT), (0.5, COUNT // 2 - 1)])
def test_as_many_are_bought_as_the_budget_holds(
    share: float, least: int, is_told_late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`is_told_late`: what was written is heard of only after others have looked, as may happen on a busy machine."""
    budget = share * COUNT * EACH
    write = Store.write

    async def late(self: Store, operation: Operation[Any]) -> Any:
        written = await write(self, operation)
        await asyncio.sleep(0.01)
        return written

    if is_told_late:
        monkeypatch.setattr(Store, "write", late)

    async def work() -> Counter[str]:
        async with gateway(tmp_path, budget_usd=budget) as opened:
            settings = at(fake, "compat", output_usd=20.0, max_in_flight=100)
            model = opened.bind("compat/m", settings)

            async def one(number: int) -> str:
                try:
                    return (await model.complete(ask(f"{number:060}", max_tokens=20 * TOKENS))).text
                except BudgetReachedError:
                    return "budget"

            async with asyncio.timeout(LONGEST):
                ends = Counter(await asyncio.gather(*map(one, range(COUNT))))
            assert opened.spending()[0].usd <= budget + 1e-9
            return ends

    with FakeProvider(answer, FakeSettings(latency_s=0.02)) as fake:
        ends = run(work())
        assert fake.ledger.billed_usd(1.0, 20.0) <= budget + 1e-9
        assert not fake.ledger.repeated
    assert ends["fine"] >= least
    assert ends["fine"] + ends["budget"] == COUNT


def test_what_needs_more_room_than_the_others_gets_all_of_it(tmp_path: Path) -> None:
    """Cut off with the room that was enough for the others, it is asked again, and nothing half is kept."""
    budget = 12 * EACH + 2.5 * (GIVEN + 20 * 20 * TOKENS) / 1e6

    async def work() -> list[str]:
        async with gateway(tmp_path, budget_usd=budget) as opened:
            model = opened.bind("compat/m", at(fake, "compat", output_usd=20.0, max_in_flight=100))
            for number in range(10):
                await model.complete(ask(f"{number:060}", max_tokens=20 * TOKENS))
            asked = [model.complete(ask(f"{name:>60}", max_tokens=20 * TOKENS)) for name in ("a", "b", "c", "long")]
            texts = [end.text for end in await asyncio.gather(*asked)]
            assert opened.spending()[0].usd <= budget
            outcomes = {row[0] for row in opened.store.read("SELECT DISTINCT outcome FROM response")}
            assert outcomes == {"ok"}
            return texts

    with FakeProvider(answer, FakeSettings(latency_s=0.02)) as fake:
        assert run(work()) == ["fine"] * 4


def test_lost_calls_are_listed_and_let_go_when_they_are_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        async with gateway(tmp_path) as opened:
            model = opened.bind("compat/m", at(fake, "compat", timeout_s=0.05))
            with pytest.raises(ModelError, match="no answer within"):
                await model.complete(ask())
            await opened.store.write(
                lambda db: db.execute("UPDATE call SET at = ? WHERE id <= 3", (time.time() - 7200,))
            )

    with FakeProvider(lambda _: FakeAnswer("late", delay_s=0.5)) as fake:
        run(work())
    assert main(["ledger", "--json", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    model = told["models"]["compat/m"]
    assert (len(told["lost"]), told["released"]) == (4, None)
    assert {call["reason"] for call in told["lost"]} == {"timeout"}
    assert model["lost_usd"] == pytest.approx(model["usd"])
    assert (model["spent_usd"], model["reserved_usd"]) == (0, 0)
    assert main(["ledger", str(tmp_path / "responses.sqlite"), "--release", "1h"]) == 0
    out = capsys.readouterr().out
    assert "let go of 3 calls" in out
    assert out.count("call 4 ") == 1
    assert main(["ledger", "--json", str(tmp_path)]) == 0
    left = json.loads(capsys.readouterr().out)
    assert len(left["lost"]) == 1
    assert left["models"]["compat/m"]["usd"] == pytest.approx(model["usd"] / 4)
    assert main(["ledger", str(tmp_path), "--release", "soon"]) == 2
    assert "must be an age such as 90m, 12h or 2d" in capsys.readouterr().err
