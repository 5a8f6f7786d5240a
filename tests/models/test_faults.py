"""Everything goes wrong at once, and still every item ends, nothing is answered twice, and the money adds up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import attrs
import pytest
from models.support import REMOTE, SCHEMA, ask, at, gateway, run

from sgforge.models import ModelError
from sgforge.models.errors import BudgetReachedError
from sgforge.testing.fake_provider import FAULTS, FakeAnswer, FakeProvider, FakeRequest, FakeSettings
from sgforge.testing.fake_provider.instances import answer_by_schema
from sgforge.testing.fake_provider.messages import Script

# A hang ends by a timeout, which a busy machine would give to good answers too: `test_retry` has it.
SOAKED = tuple(fault for fault in FAULTS if fault != "hang")


def faulty(seed: int, share: float = 0.3) -> Script:
    """Answers by the schema; a share of the tries of each question meets a fault, the same ones in whatever order."""
    tries: Counter[str] = Counter()

    def script(request: FakeRequest) -> FakeAnswer:
        tries[request.question] += 1
        chance = random.Random(f"{seed} {request.question} {tries[request.question]}")
        answer = answer_by_schema(request)
        if chance.random() >= share:
            return answer
        return attrs.evolve(answer, fault=chance.choice(SOAKED))

    return script


@pytest.mark.parametrize("name", REMOTE)
def test_soak(name: str, tmp_path: Path) -> None:
    """30 % of requests meet one of the faults; answers are valid instances of the schema, repairs included."""
    items, budget = 200, 0.2

    async def work() -> Counter[str]:
        async with gateway(tmp_path, budget_usd=budget) as opened:
            model = opened.bind(name, at(fake, name, max_in_flight=50))

            async def one(number: int) -> str:
                try:
                    return "done" if (await model.complete(ask(f"{number}", schema=SCHEMA))).parsed else "empty"
                except ModelError as error:
                    return error.reason if error.detail else "no detail"

            ends = Counter(await asyncio.gather(*(one(number) for number in range(items))))
            spent = opened.spending()[0]
            assert fake.ledger.billed_usd(1.0, 2.0) <= spent.usd <= budget
            return ends

    with FakeProvider(faulty(3), FakeSettings(retry_after_s=0.05)) as fake:
        ends = run(work())
        before = fake.ledger.answered
        again = run(work())
    assert sum(ends.values()) == items
    assert set(ends) <= {"done", "refused", "truncated", "invalid", "http_400"}
    assert ends["done"] > 0.8 * items
    assert not fake.ledger.repeated  # no answer that arrived was ever bought again, not even by the second run
    assert again["done"] >= ends["done"]
    assert fake.ledger.answered - before <= ends["http_400"] * 2


def test_soak_against_a_budget_that_is_too_small(tmp_path: Path) -> None:
    budget = 0.02

    async def work() -> int:
        async with gateway(tmp_path, budget_usd=budget) as opened:
            model = opened.bind("compat/m", at(fake, "compat"))
            work = (model.complete(ask(f"{number}", schema=SCHEMA)) for number in range(300))
            ends = await asyncio.gather(*work, return_exceptions=True)
            assert all(isinstance(end, ModelError) for end in ends if isinstance(end, BaseException))
            assert opened.spending()[0].usd <= budget
            return sum(isinstance(end, BudgetReachedError) for end in ends)

    with FakeProvider(faulty(4), FakeSettings(retry_after_s=0.05)) as fake:
        assert run(work()) > 0
    assert fake.ledger.billed_usd(1.0, 2.0) <= budget


@pytest.mark.parametrize("name", REMOTE)
def test_unknown_model_and_wrong_key(name: str, tmp_path: Path) -> None:
    async def attempt(where: str) -> str:
        async with gateway(tmp_path / where) as opened:
            with pytest.raises(ModelError) as caught:
                await opened.bind(name, at(fake, name)).complete(ask())
            return caught.value.reason

    with FakeProvider(settings=FakeSettings(models=frozenset({"other"}))) as fake:
        assert run(attempt("a")) == "http_404"
    with FakeProvider(settings=FakeSettings(keys=frozenset({"another-key"}))) as fake:
        assert run(attempt("b")) == "http_401"
