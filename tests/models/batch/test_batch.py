"""Batch endpoints behind the same cache: what is submitted, collected, asked again; the process may end in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from models.cancelling import CancelledAt
from models.support import SCHEMA, ask, at, gateway, picture, run

from sgforge.models import ChatRequest, ChatResponse, ModelError, ModelSettings
from sgforge.models.batch.desk import BatchDesk, Collected
from sgforge.models.batch.rows import batches
from sgforge.models.batch.spool import Spool, drop_orphans, spool_folder
from sgforge.models.batch.submit import Spooler
from sgforge.models.errors import BudgetReachedError, DeferredError
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings

BATCHED = ("openai/m", "anthropic/m")


async def submit(
    folder: Path, name: str, settings: ModelSettings, requests: list[ChatRequest], **others: object
) -> Spooler:
    """What `sgforge batch submit` does, with bare requests for items."""
    spooler = Spooler()
    async with gateway(folder, spooler, **others) as opened:
        model = opened.bind(name, settings)
        ends = await asyncio.gather(*(model.complete(request) for request in requests), return_exceptions=True)
        assert all(isinstance(end, (DeferredError, ChatResponse)) for end in ends), ends
    return spooler


async def collect(folder: Path, name: str, settings: ModelSettings) -> list[Collected]:
    async with gateway(folder) as opened:
        opened.bind(name, settings)
        desk = BatchDesk(opened)
        await desk.recover()
        return await desk.collect()


async def complete_all(folder: Path, name: str, settings: ModelSettings, requests: list[ChatRequest]) -> list[object]:
    async with gateway(folder) as opened:
        model = opened.bind(name, settings)
        return await asyncio.gather(*(model.complete(request) for request in requests), return_exceptions=True)


def items(count: int, **fields: object) -> list[ChatRequest]:
    return [ask(f"item {number}", [picture()], **fields) for number in range(count)]


@pytest.mark.parametrize("name", BATCHED)
def test_the_answers_of_a_batch_are_the_answers_of_a_run(name: str, tmp_path: Path) -> None:
    def script(request: FakeRequest) -> FakeAnswer:
        assert request.images == (picture().load(),)
        return FakeAnswer(request.text, usage=(100, 20, 10))

    with FakeProvider(script) as fake:
        settings = at(fake, name, batch_factor=0.5, cache_read_usd=0.5)
        spooler = run(submit(tmp_path, name, settings, items(20)))
        assert [(entry.requests, entry.model) for entry in spooler.submitted] == [(20, name)]
        assert not list(spool_folder(tmp_path / "responses.sqlite").iterdir())
        (collected,) = run(collect(tmp_path, name, settings))
        assert collected.answers == {"ok": 20}
        assert not collected.freed
        responses = run(complete_all(tmp_path, name, settings, items(20)))

        async def spent() -> float:
            async with gateway(tmp_path) as opened:
                assert [(row.state, row.status) for row in batches(opened.store)] == [("collected", "20 ok")]
                return opened.spending()[0].usd

        assert run(spent()) == pytest.approx(20 * 0.5 * (80 * 1.0 + 20 * 0.5 + 10 * 2.0) / 1e6)
    assert [response.text for response in responses] == [f"item {number}" for number in range(20)]
    assert all(response.cached for response in responses)
    assert fake.ledger.received == 0  # nothing went to the chat endpoint
    assert len(fake.ledger.entries) == 20


@pytest.mark.parametrize("name", BATCHED)
def test_what_was_done_to_an_image_of_a_batch_is_recorded(name: str, tmp_path: Path) -> None:
    with FakeProvider() as fake:
        settings = at(fake, name, max_image_side=16)
        run(submit(tmp_path, name, settings, items(1)))
        run(collect(tmp_path, name, settings))
        (response,) = run(complete_all(tmp_path, name, settings, items(1)))
    (note,) = response.notes
    assert "downscaled from 32x24" in note
    assert "to 16x12" in note


@pytest.mark.parametrize("name", BATCHED)
def test_while_a_batch_runs_nothing_is_asked_twice(name: str, tmp_path: Path) -> None:
    with FakeProvider(settings=FakeSettings(batch_delay_s=3600)) as fake:
        settings = at(fake, name)
        run(submit(tmp_path, name, settings, items(5)))
        again = run(submit(tmp_path, name, settings, items(7)))
        assert [entry.requests for entry in again.submitted] == [2]
        online = run(complete_all(tmp_path, name, settings, items(7)))
        assert all(isinstance(end, DeferredError) for end in online)
        assert all(entry.answers is None for entry in run(collect(tmp_path, name, settings)))
    assert fake.ledger.received == 0


@pytest.mark.parametrize("name", BATCHED)
def test_expired_and_failed_requests_are_asked_again_alone(name: str, tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    def script(request: FakeRequest) -> FakeAnswer:
        asked[request.text] += 1
        return FakeAnswer("fine")

    with FakeProvider(script, FakeSettings(batch_expire_share=0.2, batch_error_share=0.2, seed=7)) as fake:
        settings = at(fake, name)
        left, waves = 60, 0
        while left and waves < 20:
            spooler = run(submit(tmp_path, name, settings, items(60)))
            assert sum(entry.requests for entry in spooler.submitted) == left
            (collected,) = [entry for entry in run(collect(tmp_path, name, settings)) if entry.answers is not None]
            assert collected.freed is not None
            assert collected.answers is not None
            freed = sum(collected.freed.values())
            assert sum(collected.answers.values()) + freed == left
            left, waves = freed, waves + 1
        assert left == 0
        assert waves > 1
    assert set(asked.values()) == {1}
    assert len(asked) == 60


@pytest.mark.parametrize("name", BATCHED)
def test_unusable_answers_of_a_batch_are_recorded_and_repaired_in_the_next(name: str, tmp_path: Path) -> None:
    def script(request: FakeRequest) -> FakeAnswer:
        if "refuse" in request.text:
            return FakeAnswer("no", finish="refusal")
        if "does not satisfy" in request.text:
            return FakeAnswer('{"label": "dog", "count": 1}')
        return FakeAnswer("not json")

    with FakeProvider(script) as fake:
        settings = at(fake, name)
        requests = [ask("refuse", schema=SCHEMA), ask("other", schema=SCHEMA)]
        run(submit(tmp_path, name, settings, requests))
        (first,) = run(collect(tmp_path, name, settings))
        assert first.answers == {"refused": 1, "unrepaired": 1}

        async def second_wave() -> None:
            async with gateway(tmp_path, Spooler()) as opened:
                model = opened.bind(name, settings)
                with pytest.raises(ModelError, match="refused"):
                    await model.complete(requests[0])
                with pytest.raises(DeferredError):
                    await model.complete(requests[1])

        run(second_wave())
        (second,) = run(collect(tmp_path, name, settings))
        assert second.answers == {"ok": 1}
        refused, repaired = run(complete_all(tmp_path, name, settings, requests))
    assert isinstance(refused, ModelError)
    assert isinstance(repaired, ChatResponse)
    assert repaired.repaired
    assert len(fake.ledger.entries) == 3


@pytest.mark.parametrize("name", BATCHED)
def test_batches_are_cut_by_count_and_by_bytes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgforge_anthropic.messages import AnthropicProvider
    from sgforge_openai.chat import OpenAIProvider

    provider = OpenAIProvider if name.startswith("openai") else AnthropicProvider
    with FakeProvider() as fake:
        settings = at(fake, name)
        monkeypatch.setattr(provider, "max_batch_requests", 8)
        by_count = run(submit(tmp_path / "a", name, settings, items(20)))
        assert sorted(entry.requests for entry in by_count.submitted) == [4, 8, 8]
        monkeypatch.setattr(provider, "max_batch_requests", 1000)
        monkeypatch.setattr(provider, "max_batch_bytes", 10_000)
        by_bytes = run(submit(tmp_path / "b", name, settings, items(20)))
        assert sum(entry.requests for entry in by_bytes.submitted) == 20
        assert len(by_bytes.submitted) > 1
        assert all(entry.bytes <= 10_000 for entry in by_bytes.submitted)
        collected = run(collect(tmp_path / "b", name, settings))
        assert sum(sum((entry.answers or {}).values()) for entry in collected) == 20


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("reached_the_vendor", [True, False])
def test_a_crash_in_the_middle_of_a_submit(
    name: str, reached_the_vendor: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent is written; whether the vendor got the batch is found out by the next process."""
    from sgforge_anthropic import batches as anthropic_batches
    from sgforge_openai import batches as openai_batches

    home = openai_batches if name.startswith("openai") else anthropic_batches
    real = home.submit

    class Died(BaseException):
        pass

    async def dies(*arguments: object) -> str:
        if reached_the_vendor:
            await real(*arguments)
        raise Died

    with FakeProvider() as fake:
        settings = at(fake, name)
        monkeypatch.setattr(home, "submit", dies)
        with pytest.raises(Died):
            run(submit(tmp_path, name, settings, items(6)))
        monkeypatch.setattr(home, "submit", real)

        async def look() -> list[str]:
            async with gateway(tmp_path) as opened:
                opened.bind(name, settings)
                return await BatchDesk(opened).recover()

        (note,) = run(look())
        assert ("found at the vendor" in note) == reached_the_vendor
        (collected,) = run(collect(tmp_path, name, settings))
        assert collected.answers == {"ok": 6}
    assert len(fake.ledger.entries) == 6
    assert not fake.ledger.repeated


def test_a_submit_that_was_killed_leaves_no_spool_and_a_living_one_keeps_its_own(tmp_path: Path) -> None:
    folder = spool_folder(tmp_path / "responses.sqlite")
    living = Spool(folder, "sgforge-living", 10, 10**6)
    living.seal()
    (folder / "sgforge-killed.jsonl").write_bytes(b"[]")
    (folder / "sgforge-intent.jsonl").write_bytes(b"[]")
    assert drop_orphans(folder, {"sgforge-intent.jsonl"}) == 1
    assert sorted(path.stem for path in folder.iterdir()) == ["sgforge-intent", "sgforge-living"]
    living.release()

    async def look() -> None:
        async with gateway(tmp_path) as opened:
            assert await BatchDesk(opened).recover() == []

    run(look())
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", BATCHED)
def test_a_cancelled_batch_frees_its_requests(name: str, tmp_path: Path) -> None:
    with FakeProvider(settings=FakeSettings(batch_delay_s=3600)) as fake:
        settings = at(fake, name)
        run(submit(tmp_path, name, settings, items(4)))

        async def cancel() -> list[str]:
            async with gateway(tmp_path) as opened:
                opened.bind(name, settings)
                with pytest.raises(Exception, match="nonsense"):
                    await BatchDesk(opened).cancel(["nonsense"])
                return await BatchDesk(opened).cancel()

        assert len(run(cancel())) == 1
        (collected,) = run(collect(tmp_path, name, settings))
        assert collected.freed == {"cancelled": 4}
        answers = run(complete_all(tmp_path, name, settings, items(4)))
    assert all(isinstance(answer, ChatResponse) for answer in answers)


@pytest.mark.parametrize("name", BATCHED)
def test_collecting_may_be_interrupted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgforge.models.batch import desk as module

    with FakeProvider(lambda _: FakeAnswer("x", usage=(100, 0, 10))) as fake:
        settings = at(fake, name)
        run(submit(tmp_path, name, settings, items(30)))
        monkeypatch.setattr(module, "_CHUNK", 8)
        taken = []
        real = BatchDesk._take

        async def dies(self: BatchDesk, *arguments: object) -> None:
            if len(taken) == 2:
                raise KeyboardInterrupt
            taken.append(1)
            await real(self, *arguments)

        monkeypatch.setattr(BatchDesk, "_take", dies)
        with pytest.raises(KeyboardInterrupt):
            run(collect(tmp_path, name, settings))
        monkeypatch.setattr(BatchDesk, "_take", real)
        (collected,) = run(collect(tmp_path, name, settings))
        assert collected.answers == {"ok": 14}

        async def spent() -> tuple[int, int, float]:
            async with gateway(tmp_path) as opened:
                (row,) = opened.spending()
                return row.calls, row.lost, row.usd

        calls, lost, usd = run(spent())
        assert (calls, lost) == (30, 0)
        assert usd == pytest.approx(30 * (100 + 2 * 10) / 1e6)


@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_over_the_budget_is_not_submitted(name: str, tmp_path: Path) -> None:
    with FakeProvider() as fake:
        settings = at(fake, name)
        with pytest.raises(BudgetReachedError):
            run(submit(tmp_path, name, settings, items(50), budget_usd=0.001))
        run(submit(tmp_path / "b", name, settings, items(50), budget_usd=1.0))

    async def rows(folder: Path) -> int:
        async with gateway(folder) as opened:
            return len(batches(opened.store))

    assert (run(rows(tmp_path)), run(rows(tmp_path / "b"))) == (0, 1)


def test_a_vendor_that_refuses_the_batch_frees_everything(tmp_path: Path) -> None:
    with FakeProvider(settings=FakeSettings(keys=frozenset({"another"}))) as fake:
        settings = at(fake, "anthropic/m")
        # The key is checked by the fake's chat endpoint only, so the refusal is made by hand.
        from sgforge.models.errors import ProviderError
        from sgforge_anthropic.messages import AnthropicProvider

        async def refuse(self: AnthropicProvider, *arguments: object) -> str:
            raise ProviderError("too many batches", status=400)

        real, AnthropicProvider.submit_batch = AnthropicProvider.submit_batch, refuse
        try:
            with pytest.raises(ModelError, match="too many batches"):
                run(submit(tmp_path, "anthropic/m", settings, items(3)))
        finally:
            AnthropicProvider.submit_batch = real

        async def look() -> tuple[int, float]:
            async with gateway(tmp_path) as opened:
                return len(opened.waiting), sum(row.usd for row in opened.spending())

        assert run(look()) == (0, 0.0)


def test_models_without_a_batch_endpoint_are_asked_as_always(tmp_path: Path) -> None:
    with FakeProvider() as fake:

        async def work() -> ChatResponse:
            async with gateway(tmp_path, Spooler()) as opened:
                return await opened.bind("compat/m", at(fake, "compat")).complete(ask())

        assert run(work()).text
    assert fake.ledger.answered == 1


def test_a_request_that_is_given_up_at_whatever_point_loses_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request fits a batch, so the second submits the first; the second is cancelled, then asked again."""
    from sgforge_openai.chat import OpenAIProvider

    monkeypatch.setattr(OpenAIProvider, "max_batch_requests", 1)

    async def once(folder: Path, at_point: int) -> bool:
        spooler = Spooler()
        async with gateway(folder, spooler) as opened:
            model = opened.bind("openai/m", at(fake, "openai"))
            first, second = items(2)
            with pytest.raises(DeferredError):
                await model.complete(first)

            async def give_up() -> bool:
                try:
                    await CancelledAt(model.complete(second), at_point)
                except DeferredError:
                    return False
                except asyncio.CancelledError:
                    return True
                raise AssertionError("there is no answer yet")

            cancelled = await asyncio.create_task(give_up())
            with pytest.raises(DeferredError):
                await model.complete(second)
        assert [row.requests for row in spooler.submitted] == [1, 1]
        async with gateway(folder) as opened:
            assert (
                sorted((row.state, row.total, row.waiting) for row in batches(opened.store))
                == [("submitted", 1, 1)] * 2
            )
        return cancelled

    with FakeProvider() as fake:
        point = 1
        while run(once(tmp_path / str(point), point)):
            point += 1
    assert point > 2
