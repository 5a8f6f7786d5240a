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
from models.test_cases import good, write_pipeline

import sgforge as sg
from sgforge.cli.main import main
from sgforge.errors import SgforgeError
from sgforge.models import ChatResponse
from sgforge.models.batch.desk import BatchDesk, Collected
from sgforge.models.batch.rows import batches
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeSettings
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


def odd_lines(lines: list[bytes]) -> list[bytes]:
    """Of four results: one whose usage is null, one whose text is in parts, or whose message is null; a torn last."""
    rows = [json.loads(line) for line in lines]
    if "response" in rows[0]:
        body = rows[0]["response"]["body"]
        body["usage"] = dict.fromkeys(body["usage"])
        said = rows[1]["response"]["body"]["choices"][0]["message"]
        said["content"] = [{"type": "text", "text": said["content"]}]
    else:
        rows[0]["result"]["message"]["usage"] = None
        rows[1]["result"]["message"] = None
    told = [json.dumps(row).encode() for row in rows]
    return [b"\xef\xbb\xbf" + told[0], *told[1:3], told[3][: len(told[3]) // 2]]


@pytest.mark.parametrize(("model", "failed"), [("openai/m", 0), ("anthropic/m", 1)])
def test_odd_results_through_the_commands(
    model: str, failed: int, results: Callable[[Change], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results(odd_lines)
    with FakeProvider(lambda request: FakeAnswer(good("four lists")), FakeSettings(latency_s=0.0)) as fake:
        wire = "messages" if model.startswith("anthropic") else "chat"
        config = write_pipeline(tmp_path, {"kind": "completion", "wire": wire}, Served(fake), 4)
        config.write_text(config.read_text().replace("compat/m", model).replace("deadline_s = 0.4", "deadline_s = 60"))
        assert main(["batch", "submit", str(config)]) == 0
        assert main(["batch", "collect", str(config), "--wait", "60"]) == 0
        online = fake.ledger.answered
        # The torn line's request is asked; a message that is null was an answer, and fails alone.
        assert main(["run", str(config)]) == (4 if failed else 0)
        assert fake.ledger.answered - online == 1
    graphs = [sample.graph for sample in sg.Dataset.open(tmp_path / "data")]
    found = sorted([row.predicate for row in graph.relations.values()] for graph in graphs)
    assert found == [[]] * failed + [["holding"]] * (4 - failed)


class Served:
    """The fake provider, as `write_pipeline` asks for addresses."""

    def __init__(self, fake: FakeProvider) -> None:
        self.fake = fake

    def url(self, model: str) -> str:
        return self.fake.anthropic_url if model.startswith("anthropic") else self.fake.openai_url
