"""Results of a batch that are not as they should be: what can be read comes in, and no line locks the others away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from models.batch.test_batch import BATCHED, collect, complete_all, items, submit
from models.support import at, gateway, run

from sgforge.errors import SgforgeError
from sgforge.models import ChatResponse
from sgforge.models.batch.desk import BatchDesk, Collected
from sgforge.models.batch.rows import batches
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider
from sgforge.testing.fake_provider.batches import AnthropicBatches, OpenAIBatches

Change = Callable[[list[bytes]], list[bytes]]
COUNT = 6


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Change the lines of results on their way out of the server."""
    content, lines = OpenAIBatches.content, AnthropicBatches.results

    def changed(change: Change) -> None:
        async def files(self: OpenAIBatches, request: web.Request) -> web.Response:
            response = await content(self, request)
            return web.Response(body=b"\n".join(change((response.body or b"").splitlines())))  # type: ignore[union-attr]

        async def rows(self: AnthropicBatches, request: web.Request) -> web.Response:
            response = await lines(self, request)
            return web.Response(body=b"\n".join(change(response.body.splitlines())))  # type: ignore[union-attr]

        monkeypatch.setattr(OpenAIBatches, "content", files)
        monkeypatch.setattr(AnthropicBatches, "results", rows)

    return changed


def collected(folder: Path, fake: FakeProvider, name: str) -> Collected:
    settings = at(fake, name)
    run(submit(folder, name, settings, items(COUNT)))
    (one,) = run(collect(folder, name, settings))
    return one


def spent(folder: Path) -> tuple[int, float]:
    """(calls that were lost, USD) of the ledger."""

    async def work() -> tuple[int, float]:
        async with gateway(folder) as opened:
            (row,) = opened.spending()
            return row.lost, row.usd

    return run(work())


def body_of(line: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A line with the answer in it changed."""
    row = json.loads(line)
    if "response" in row:
        row["response"]["body"] = change(row["response"]["body"])
    else:
        row["result"]["message"] = change(row["result"]["message"])
    return json.dumps(row).encode()


TORN: dict[str, Change] = {
    "torn": lambda lines: [lines[0][: len(lines[0]) // 2], *lines[1:]],
    "html": lambda lines: [b"<html>502</html>", *lines[1:]],
    "no custom_id": lambda lines: [b'{"result": {}, "response": {}}', *lines[1:]],
    "no object": lambda lines: [b"null", *lines[1:]],
}


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("kind", TORN)
def test_a_line_that_cannot_be_read_is_skipped_and_its_request_asked_again(
    kind: str, name: str, results: Any, tmp_path: Path
) -> None:
    results(TORN[kind])
    with FakeProvider(lambda _: FakeAnswer("fine")) as fake:
        one = collected(tmp_path, fake, name)
        assert (one.answers, one.freed, one.skipped, one.left) == ({"ok": COUNT - 1}, {"missing": 1}, 1, 0)
        assert "1 line could not be read" in one.told
        # It may have been billed, so it stays in the ledger at its worst case.
        assert spent(tmp_path)[0] == 1
        answers = run(complete_all(tmp_path, name, at(fake, name), items(COUNT)))
        assert sum(isinstance(answer, ChatResponse) and answer.cached for answer in answers) == COUNT - 1


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("first", [b"\xef\xbb\xbf", b"\n\n"])
def test_a_byte_order_mark_and_empty_lines_are_nothing(first: bytes, name: str, results: Any, tmp_path: Path) -> None:
    results(lambda lines: [first + lines[0], *lines[1:]])
    with FakeProvider(lambda _: FakeAnswer("fine")) as fake:
        assert collected(tmp_path, fake, name).answers == {"ok": COUNT}


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "usage of nulls": lambda body: {**body, "usage": dict.fromkeys(body["usage"])},
    "usage below 0": lambda body: {**body, "usage": dict.fromkeys(body["usage"], -5)},
    "no usage": lambda body: {**body, "usage": None},
}


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("kind", ODD)
def test_an_answer_with_odd_usage_is_kept_at_its_worst_case(kind: str, name: str, results: Any, tmp_path: Path) -> None:
    with FakeProvider(lambda _: FakeAnswer("fine", usage=(100, 0, 10))) as fake:
        good = collected(tmp_path / "good", fake, name)
    results(lambda lines: [body_of(lines[0], ODD[kind]), *lines[1:]])
    with FakeProvider(lambda _: FakeAnswer("fine", usage=(100, 0, 10))) as fake:
        odd = collected(tmp_path / "odd", fake, name)
    assert odd.answers == good.answers == {"ok": COUNT}
    assert spent(tmp_path / "odd")[1] > spent(tmp_path / "good")[1]


@pytest.mark.parametrize("name", BATCHED)
def test_an_answer_that_is_null_fails_alone(name: str, results: Any, tmp_path: Path) -> None:
    results(lambda lines: [body_of(lines[0], lambda body: None), *lines[1:]])
    with FakeProvider(lambda _: FakeAnswer("fine")) as fake:
        assert collected(tmp_path, fake, name).answers == {"ok": COUNT - 1, "malformed": 1}


@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_of_which_nothing_can_be_read_waits_until_it_is_forgotten(
    name: str, results: Any, tmp_path: Path
) -> None:
    results(lambda lines: [b"<html>", b"<body>come back later</body>"])
    with FakeProvider(lambda _: FakeAnswer("fine")) as fake:
        one = collected(tmp_path, fake, name)
        assert (one.answers, one.left) == ({}, COUNT)
        assert f"{COUNT} requests left in it: collect again" in one.told
        before = spent(tmp_path)

        async def forget() -> list[tuple[str, int]]:
            async with gateway(tmp_path) as opened:
                desk = BatchDesk(opened)
                with pytest.raises(SgforgeError, match="no open batch nobody"):
                    await desk.forget(["nobody"])
                found = await desk.forget([one.row.tag])
                assert not batches(opened.store, open_only=True)
                return found

        assert run(forget()) == [(one.row.tag, COUNT)]
        assert spent(tmp_path) == before
        answers = run(complete_all(tmp_path, name, at(fake, name), items(COUNT)))
        assert all(isinstance(answer, ChatResponse) and not answer.cached for answer in answers)


@pytest.mark.parametrize("ids", [("output_file_id",), ("error_file_id",)])
def test_an_empty_name_is_no_file(ids: tuple[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    describe = OpenAIBatches.describe

    def emptied(self: OpenAIBatches, batch: Any) -> dict[str, Any]:
        body = describe(self, batch)
        return {**body, **{name: body[name] or "" for name in ("output_file_id", "error_file_id")}}

    monkeypatch.setattr(OpenAIBatches, "describe", emptied)
    with FakeProvider(lambda _: FakeAnswer("fine")) as fake:
        assert collected(tmp_path, fake, "openai/m").answers == {"ok": COUNT}


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("off", [-600.0, 600.0, 90_000.0])
def test_a_lost_batch_is_found_whatever_the_clock_says(
    off: float, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The answer to a submit is lost; another's batch came after it, and this machine's clock goes wrong."""

    async def lose() -> None:
        async with gateway(tmp_path) as opened:
            await opened.store.write(
                lambda db: db.execute("UPDATE batch SET state = 'intent', remote_id = NULL, at = at + ?", (off,))
            )

    with FakeProvider(lambda _: FakeAnswer("fine")) as fake:
        settings = at(fake, name)
        run(submit(tmp_path, name, settings, items(COUNT)))
        run(submit(tmp_path / "another", name, settings, items(COUNT + 1)))
        run(lose())
        (one,) = run(collect(tmp_path, name, settings))
        assert one.answers == {"ok": COUNT}
        assert fake.ledger.answered == COUNT + (COUNT + 1)
