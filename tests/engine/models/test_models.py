"""Components that ask a model: what the engine binds, records, forecasts and refuses."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import engine_toys
import pytest
from engine_toys import ToyTeacher, read_log
from support.waiting import wait_until

import sgforge as sg
from sgforge.dataset.states.known_states import connect_to_read
from sgforge.engine.forecast.costs import estimate_costs
from sgforge.engine.forecast.forecast import forecast
from sgforge.engine.reporting.progress import NoProgress
from sgforge.errors import DatasetError, PreflightError
from sgforge.graph import Relation
from sgforge.models import Capabilities, ChatRequest, Message, ModelSettings, TextPart, Usage
from sgforge.models.cache.request_key import call_id
from sgforge.models.cache.store import ReadStore, Store
from sgforge.models.errors import ProviderError, StoreError
from sgforge.models.provider import Reply
from sgforge.stages import Failure, Needs
from sgforge.testing import IsolatedPlugins


@attrs.frozen
class AskingOptions:
    model: str
    prefix: str = "image"


class AskingTeacher(ToyTeacher):
    """Asks the model for a predicate."""

    def __init__(self, options: AskingOptions):
        super().__init__()
        self.asking = options

    async def complete(self, sample):
        text = f"{self.asking.prefix} {sample.image_id}"
        request = ChatRequest(messages=(Message("user", (TextPart(text),)),), max_tokens=10)
        response = await self.resources.model.complete(request)
        if response.text == "nothing":
            return Failure("silent")
        return sg.Edit.add(Relation(2, response.text, 1))


class SyncAskingTeacher(AskingTeacher):
    """The same by batches, a fresh event loop for every question; refuses a batch that holds the image "00003"."""

    def complete(self, samples):
        if len(samples) > 1 and any(sample.image_id == "00003" for sample in samples):
            raise RuntimeError("not together")
        return [asyncio.run(super(SyncAskingTeacher, self).complete(sample)) for sample in samples]


class ToyProvider:
    """A model in this process: answers with the last word it was given."""

    log = ""

    def __init__(self, settings: ModelSettings):
        self.settings = settings

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(images=False, paid=True)

    def identity(self, model: str) -> str | None:
        return None

    def problems(self, model: str) -> list[str]:
        return ["there is no such model; choose another"] if model == "missing" else []

    def body(self, model: str, request: ChatRequest, encode: Any) -> dict[str, Any]:
        return {"text": request.messages[-1].parts[0].text}

    def load(self, model: str) -> None: ...

    async def send(self, body) -> bytes:
        engine_toys.log(ToyProvider.log, body["text"])
        return json.dumps({"answer": f"sees {body['text'].split()[-1]}"}).encode()

    def read(self, raw: bytes) -> Reply:
        return Reply(json.loads(raw)["answer"], "stop", Usage(input=100, output=10))

    async def close(self) -> None: ...


class Plugin:
    @sg.hookimpl
    def sgforge_register_teachers(self, register):
        needs = Needs(model=True, deterministic=False)
        register("asking", AskingTeacher, config=AskingOptions, needs=needs)
        register("asking-sync", SyncAskingTeacher, config=AskingOptions, needs=needs)

    @sg.hookimpl
    def sgforge_register_models(self, register):
        register("toy", ToyProvider, config=ModelSettings)
        register("locked", ToyProvider, config=ModelSettings, needs=Needs(env=("SGFORGE_TEST_NO_SUCH_KEY",)))


@pytest.fixture
def models(tmp_path):
    ToyProvider.log = str(tmp_path / "log")
    with IsolatedPlugins(engine_toys.this_plugin(), Plugin()) as registry:
        yield registry


PRICED = {"toy/one": {"input_usd": 10.0, "output_usd": 100.0}}


def pipeline(model: str = "toy/one", **gateway) -> sg.Pipeline:
    from sgforge.models import GatewaySettings

    return sg.Pipeline(
        sg.segment("toy"), sg.complete("asking", model=model), models=PRICED, gateway=GatewaySettings(**gateway)
    )


def test_answers_carry_the_ids_of_their_calls_and_a_second_run_makes_none(models, tmp_path):
    source = sg.source("toy", count=12)
    report = pipeline().run(source, tmp_path / "data", progress=False)
    assert report.exit_code == 0
    assert len(read_log(tmp_path / "log")) == 12
    dataset = sg.Dataset.open(tmp_path / "data")
    assert dataset["00003"].graph.all.relations[-1].predicate == "sees 00003"
    calls = dataset.snapshot.provenance.of_image(3)
    assert [(call.step, call.run_id) for call in calls] == [("complete", report.run_id)]
    pipeline().run(source, tmp_path / "data", progress=False)
    assert len(read_log(tmp_path / "log")) == 12


def bought(responses: Path) -> dict[str, str]:
    """The id of the call that asked about each image, from the file of answers."""
    with closing(sqlite3.connect(responses)) as file:
        rows = file.execute("SELECT key, raw FROM response").fetchall()
    return {json.loads(raw)["answer"].split()[-1]: call_id(key) for key, raw in rows}


def test_answers_of_a_sync_component_carry_the_ids_of_the_calls_of_their_batch(models, tmp_path):
    steps = (sg.segment("toy"), sg.complete("asking-sync", model="toy/one", batch_size=2))
    report = sg.Pipeline(*steps, models=PRICED).run(sg.source("toy", count=6), tmp_path / "data", progress=False)
    assert report.exit_code == 0
    snapshot = sg.Dataset.open(tmp_path / "data").snapshot
    calls = [[call.call_id for call in snapshot.provenance.of_image(row)] for row in range(6)]
    number = bought(tmp_path / "data/responses.sqlite")
    # Asked by two, both calls stand behind both answers; asked again one by one, each has its own.
    assert [set(found) for found in calls] == [
        {number["00000"], number["00001"]},
        {number["00000"], number["00001"]},
        {number["00002"]},
        {number["00003"]},
        {number["00004"], number["00005"]},
        {number["00004"], number["00005"]},
    ]


def test_a_component_sees_its_model_and_not_the_gateway_behind_it(models, tmp_path):
    seen = []

    class Looking(AskingTeacher):
        def setup(self, resources):
            self.resources, model = resources, resources.model
            seen.append(({name for name in dir(model) if not name.startswith("_")}, model.name, model.max_in_flight))

    teacher = Looking(AskingOptions("toy/one"))
    teacher.options, teacher.needs = teacher.asking, Needs(model=True)
    settings = {"toy/one": {**PRICED["toy/one"], "max_in_flight": 7}}
    sg.Pipeline(sg.complete(teacher), models=settings).run(sg.source("toy", count=1), tmp_path / "data", progress=False)
    assert seen == [({"name", "capabilities", "max_in_flight", "complete"}, "toy/one", 7)]


def test_a_changed_component_pays_nothing_for_the_same_questions(models, tmp_path):
    pipeline().run(sg.source("toy", count=12), tmp_path / "data", progress=False)
    component = models.lookup("teacher", "asking")
    object.__setattr__(component, "revision", 2)
    report = pipeline().run(sg.source("toy", count=13), tmp_path / "data", progress=False)
    assert report.step("complete").counts.computed == 13
    assert len(read_log(tmp_path / "log")) == 13


def test_a_budget_ends_the_run_with_exit_code_3_and_a_higher_one_goes_on(models, tmp_path):
    # A call costs at most 100 input tokens counted from a short text, and 10 output tokens: 10 x 100 USD/M = 0.001.
    source = sg.source("toy", count=30)
    report = pipeline(budget_usd=0.02).run(source, tmp_path / "data", progress=False)
    assert (report.status, report.exit_code) == ("budget", 3)
    done = report.step("complete").counts.computed
    assert 0 < done < 30
    report = pipeline(budget_usd=5.0).run(source, tmp_path / "data", progress=False)
    assert report.exit_code == 0
    assert report.step("complete").counts.reused == done
    assert len(read_log(tmp_path / "log")) == 30


class Noting(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_provider_that_fails_again_and_again_is_told_of_while_the_run_goes_on(models, tmp_path, monkeypatch):
    send, tries = ToyProvider.send, Counter()

    async def fail_twice(provider, body):
        tries[body["text"]] += 1
        if tries[body["text"]] < 3:
            raise ProviderError("down", status=500, retry_after=0.0)
        return await send(provider, body)

    monkeypatch.setattr(ToyProvider, "send", fail_twice)
    progress = Noting()
    report = pipeline().run(sg.source("toy", count=12), tmp_path / "data", progress=progress)
    assert report.exit_code == 0
    assert sum(tries.values()) == 36
    told = [note for note in progress.notes if "tries" in note]
    assert told[0] == "toy/one: 3 tries failed with HTTP 500"


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ("toy", 'needs a model: give it model = "provider/model"'),
        ("tyo/one", "there is no model 'tyo'; did you mean 'toy'"),
        ("locked/one", "whose provider needs the environment variable SGFORGE_TEST_NO_SUCH_KEY"),
        ("toy/missing", "there is no such model; choose another"),
    ],
)
def test_a_model_that_cannot_be_asked_is_told_before_any_work(models, tmp_path, model, match):
    with pytest.raises(PreflightError, match=match):
        pipeline(model).run(sg.source("toy", count=3), tmp_path / "data", progress=False)
    assert not read_log(tmp_path / "log")


def test_a_plan_tells_calls_and_cost_and_sends_nothing(models, tmp_path, monkeypatch):
    closed = []

    async def close(teacher):
        closed.append(teacher)

    monkeypatch.setattr(AskingTeacher, "close", close, raising=False)
    request = pipeline().request(sg.source("toy", count=40), tmp_path / "data")
    plan = request.resolve(models)
    found = forecast(plan, request.dataset, request.roots)
    costs = estimate_costs(request, plan, models, found)
    assert not read_log(tmp_path / "log")
    assert not (tmp_path / "data").exists()
    assert set(costs) == {"complete"}
    estimate = costs["complete"]
    assert estimate.images == 40
    assert estimate.calls.mean == pytest.approx(40)
    # 40 calls of at most 10 output tokens at 100 USD per million, and a few input tokens at 10.
    assert 0.04 <= estimate.cost_usd.mean < 0.06
    assert len(closed) == 1


def test_a_plan_after_the_run_has_nothing_to_buy(models, tmp_path):
    source = sg.source("toy", count=10)
    pipeline().run(source, tmp_path / "data", progress=False)
    request = pipeline().request(source, tmp_path / "data")
    plan = request.resolve(models)
    found = forecast(plan, request.dataset, request.roots)
    assert [(step.to_compute, step.reused) for step in found.steps] == [(0, 10), (0, 10)]
    assert estimate_costs(request, plan, models, found) == {}


def calls_of_a_plan(models, data: Path) -> float:
    """What a plan says of 12 images, of which 10 were asked about by a step of another name."""
    steps = (sg.segment("toy"), sg.complete("asking", model="toy/one", name="again"))
    request = sg.Pipeline(*steps, models=PRICED).request(sg.source("toy", count=12), data)
    plan = request.resolve(models)
    costs = estimate_costs(request, plan, models, forecast(plan, request.dataset, request.roots))
    return costs["again"].calls.mean


def test_a_plan_knows_paid_answers_and_leaves_their_file_as_it_is(models, tmp_path):
    data = tmp_path / "data"
    pipeline().run(sg.source("toy", count=10), data, progress=False)
    before = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in (data, *data.rglob("*"))}
    assert calls_of_a_plan(models, data) == pytest.approx(2)
    assert {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in (data, *data.rglob("*"))} == before


def test_a_plan_sees_what_a_run_has_written_so_far(models, tmp_path):
    data = tmp_path / "data"
    pipeline().run(sg.source("toy", count=10), data, progress=False)
    with Store(data / "responses.sqlite") as store:
        store.post(lambda connection: connection.execute("DELETE FROM response"))
        wait_until(lambda: not store.read("SELECT key FROM response"), "an empty table")
        assert calls_of_a_plan(models, data) == pytest.approx(12)


def test_what_is_only_read_is_not_written(models, tmp_path):
    pipeline().run(sg.source("toy", count=2), tmp_path / "data", progress=False)
    store = ReadStore(tmp_path / "data" / "responses.sqlite", connect_to_read)
    with pytest.raises(StoreError, match="is only read: nothing is bought"):
        store.post(lambda connection: connection.execute("DELETE FROM response"))
    with pytest.raises(StoreError, match="is only read: nothing is bought"):
        asyncio.run(store.write(lambda connection: connection.execute("DELETE FROM response")))
    assert len(store.read("SELECT key FROM response")) == 2
    (tmp_path / "none").write_bytes(b"no database at all, but as long as a header of one would be" * 9)
    with pytest.raises(DatasetError, match=r"responses file .*none: file is not a database"):
        ReadStore(tmp_path / "none", connect_to_read)
