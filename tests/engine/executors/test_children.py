"""The executor of children: what leaves the driver answers as it would have there, and what is lost is asked again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import engine_children
import engine_toys
import pytest
from engine_children import ChildCrew, ChildExecutor
from engine_toys import ToyTeacher, arrays, read_log
from PIL import Image
from support.waiting import LONGEST, wait_until

import sgforge as sg
from sgforge.cli.main import main
from sgforge.config import parse_config
from sgforge.engine.reporting.progress import NoProgress
from sgforge.errors import ConfigError, StepError
from sgforge.models import Capabilities, GatewaySettings, ModelSettings, Usage
from sgforge.models.errors import ProviderError
from sgforge.models.provider import Reply
from sgforge.plugins import Registry
from sgforge.testing import IsolatedPlugins


class EchoProvider:
    """A model in the driver: answers with the last word of a question; refuses the image "00005"."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(images=False)

    def identity(self, model: str) -> str | None:
        return None

    def problems(self, model: str) -> list[str]:
        return []

    def body(self, model, request, encode) -> dict[str, str]:
        return {"text": request.messages[-1].parts[0].text}

    def load(self, model: str) -> None: ...

    async def send(self, body) -> bytes:
        assert os.getpid() == DRIVER
        word = body["text"].split()[-1]
        if word == "00005":
            raise ProviderError("no such picture", status=422)
        return json.dumps({"answer": f"sees {word}"}).encode()

    def read(self, raw: bytes) -> Reply:
        return Reply(json.loads(raw)["answer"], "stop", Usage(input=100, output=10))

    async def close(self) -> None: ...


DRIVER = os.getpid()
PRICED = {"toy/one": {"input_usd": 10.0, "output_usd": 100.0}}


class Models:
    @sg.hookimpl
    def sgforge_register_models(self, register):
        register("toy", EchoProvider, config=ModelSettings)


@pytest.fixture
def children(tmp_path, monkeypatch) -> Iterator[Registry]:
    """The toys and the executor, in this process and in children; the model in this one alone."""
    with IsolatedPlugins(engine_toys.this_plugin(), engine_children, Models()) as registry:
        for name, value in engine_toys.toy_environment(tmp_path / "site").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SGFORGE_PLUGINS", "toys,children")
        engine_children.install(tmp_path / "site")
        yield registry


def all_verbs() -> sg.Pipeline:
    return sg.Pipeline(
        sg.segment("toy", workers=2, batch_size=3),
        sg.complete("toy", amount=3, crash=("00004",), fail=("00009",), batch_size=4),
        sg.filter("toy", amount=40),
        sg.train("toy"),
        sg.generate("toy"),
        sg.edit("toy", drop=("00011",)),
        sg.evaluate("toy", name="predcls"),
        sg.evaluate("toy-sgdet", name="sgdet"),
    )


def told(report) -> list[object]:
    """What a run says of each step, but for its times and places."""
    # Images fail in the order in which the workers of the step before come to them, with every executor.
    failures = sorted((one.step, one.image_id, one.reason, one.detail) for one in report.failures)
    return [
        (
            step.name,
            step.status,
            step.counts,
            dict(step.reasons),
            step.notes,
            None if step.report is None else (step.report.values, step.report.notes, step.report.images_skipped),
            None if step.predictions is None else step.predictions.read_bytes(),
            None if step.checkpoint is None else step.checkpoint.sha256,
        )
        for step in report.steps
    ] + failures


def test_snapshots_and_reports_are_those_of_the_local_executor(children, tmp_path):
    executor = ChildExecutor()
    source = sg.source("toy", count=20)
    local = all_verbs().run(source, tmp_path / "local", progress=False)
    away = all_verbs().run(source, tmp_path / "away", executor=executor, progress=False)
    assert told(away) == told(local)
    assert arrays(tmp_path / "away") == arrays(tmp_path / "local")
    # Items, the training, both rankings and the segmenter of sgdet were done there, and nothing else was.
    opened = [work.method for work in executor.opened]
    assert opened == ["segment", "complete", "filter", "train", "generate", "edit", "rank", "rank", "segment"]
    # The executor is in no key: nothing is left to do.
    again = all_verbs().run(source, tmp_path / "local", executor="children", progress=False)
    assert sum(step.counts.computed for step in again.steps) == 0


def test_pictures_are_seen_there(children, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"pictures/{number:05}.png")
    source = sg.source("toy", count=4, folder=str(tmp_path / "pictures"))
    pipeline = sg.Pipeline(sg.complete("looking"))
    report = pipeline.run(source, tmp_path / "away", executor="children", progress=False)
    assert report.status == "done"
    dataset = sg.Dataset.open(tmp_path / "away")
    seen = [dataset[f"{n:05}"].graph.regions[0].descriptions for n in range(4)]
    assert seen == [(f"red {n}", "64 x 64") for n in range(4)]


def pictures(folder: Path) -> Path:
    """Six pictures, of which the fourth is cut short behind its head."""
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (64, 64), (number, 7, 0)).save(folder / f"{number:05}.png")
    whole = (folder / "00003.png").read_bytes()
    (folder / "00003.png").write_bytes(whole[: len(whole) // 2])
    return folder


def test_pictures_are_seen_there_without_their_folders(children, tmp_path):
    folder = pictures(tmp_path / "pictures")
    pipeline = sg.Pipeline(
        sg.segment("toy"), sg.complete("looking", workers=2, batch_size=2), sg.train("toy"), sg.evaluate("toy-sgdet")
    )
    source = sg.source("toy", count=6, folder=str(folder))
    local = pipeline.run(source, tmp_path / "local", progress=False)
    away = pipeline.run(source, tmp_path / "away", executor=sg.executor("children", shares_roots=False), progress=False)
    assert told(away) == told(local)
    assert [(one.image_id, one.reason) for one in away.failures] == [("00003", "image-truncated")]
    assert arrays(tmp_path / "away") == arrays(tmp_path / "local")
    dataset = sg.Dataset.open(tmp_path / "away")
    seen = [dataset[f"{n:05}"].graph.regions[0].descriptions for n in (0, 5)]
    assert seen == [("red 0", "64 x 64"), ("red 5", "64 x 64")]


def test_a_picture_that_a_step_made_is_seen_there_too(children, tmp_path):
    pipeline = sg.Pipeline(sg.render("painting"), sg.complete("looking"))
    source = sg.source("toy", count=3)
    away = sg.executor("children", shares_roots=False)
    assert pipeline.run(source, tmp_path / "away", executor=away, progress=False).status == "done"
    pipeline.run(source, tmp_path / "local", progress=False)
    assert arrays(tmp_path / "away") == arrays(tmp_path / "local")
    seen = sg.Dataset.open(tmp_path / "away")["00002"].graph.regions[0].descriptions
    assert seen == ("red 2", "64 x 64")


CONFIG = """\
dataset = "{data}"
[source]
use = "toy"
[[step]]
segment = "toy"
[executor]
use = "children"
"""


@pytest.mark.parametrize(
    ("line", "more", "told"),
    [
        ("shares_rots = true", (), "p.toml:8: executor.shares_rots: unknown key; did you mean 'shares_roots'?"),
        ("ues = 3", (), "p.toml:8: executor.ues: unknown key; did you mean 'use'?"),
        ("shares_roots = 1", (), "p.toml:8: executor.shares_roots: must be true or false, not 1"),
        ("", ("executor.shares_roots=3",), "--set executor.shares_roots: executor.shares_roots: must be true or false"),
        ("", ("executor.use=childern",), "executor.use: there is no executor 'childern'; did you mean 'children'?"),
        ("", ("executor.use=3",), "executor.use: must be a text, not 3: name an executor"),
    ],
)
def test_options_of_an_executor_are_checked_with_their_place(children, tmp_path, line, more, told):
    config = parse_config(CONFIG.format(data=tmp_path / "data") + line, more, name="p.toml")
    with pytest.raises(ConfigError) as caught:
        sg.Pipeline.from_config(config).run(config.sources, config.dataset, progress=False)
    assert told in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_options_of_an_executor_are_checked_in_python_as_in_a_file(children, tmp_path):
    pipeline, source = sg.Pipeline(sg.segment("toy")), sg.source("toy")
    away = sg.executor("children", shares_rots=False)
    with pytest.raises(ConfigError, match=r"^executor\.shares_rots: unknown key; did you mean 'shares_roots'\?$"):
        pipeline.run(source, tmp_path / "data", executor=away, progress=False)
    with pytest.raises(ConfigError, match=r"^executor\.address: unknown option: executor 'local' takes none$"):
        pipeline.run(source, tmp_path / "data", executor=sg.executor("local", address="x"), progress=False)


@pytest.mark.parametrize(
    ("given", "refused"),
    [(None, True), ("children", True), ("local", False), (ChildExecutor(), False)],
)
def test_the_executor_of_a_config_works_unless_another_is_named(children, tmp_path, given, refused):
    text = CONFIG.format(data=tmp_path / "data") + 'refuses = "it is said so"'
    pipeline = sg.Pipeline.from_config(parse_config(text))
    if refused:
        with pytest.raises(StepError, match="no child: it is said so"):
            pipeline.run(sg.source("toy"), tmp_path / "data", executor=given, progress=False)
    else:
        assert pipeline.run(sg.source("toy"), tmp_path / "data", executor=given, progress=False).status == "done"


def test_options_of_an_executor_are_in_no_key(children, tmp_path):
    pipeline, source = sg.Pipeline(sg.segment("toy")), sg.source("toy", count=5)
    pipeline.run(source, tmp_path / "data", progress=False)
    away = sg.executor("children", shares_roots=False)
    assert pipeline.run(source, tmp_path / "data", executor=away, progress=False).step("segment").counts.reused == 5


def test_the_command_line_names_one_and_sets_its_options(children, tmp_path, capsys):
    path = tmp_path / "p.toml"
    path.write_text(CONFIG.format(data=tmp_path / "data"))
    assert main(["run", str(path), "--set", "executor.refuses=so it is"]) == 1
    assert "no child: so it is" in capsys.readouterr().err
    assert main(["run", str(path), "--set", "executor.refuses=so it is", "--executor", "local"]) == 0
    assert main(["run", str(path), "--executor", "childern"]) == 2
    assert "there is no executor 'childern'; did you mean 'children'?" in capsys.readouterr().err


@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_whose_worker_was_killed_is_done_by_another_once(children, tmp_path, times):
    kills = tmp_path / "kills"
    kills.mkdir()
    pipeline = sg.Pipeline(
        sg.segment("toy"), sg.complete("deadly", kills=str(kills), times=times, batch_size=4, log=str(tmp_path / "log"))
    )
    source, data = sg.source("toy", count=20), tmp_path / "away"
    if times == 2:
        with pytest.raises(StepError, match="deadly: two workers were lost over the same images, the last by SIGKILL"):
            pipeline.run(source, data, executor="children", progress=False)
        # What was answered before is kept: the next run does the rest.
        report = pipeline.run(source, data, executor="children", progress=False)
        assert report.step("segment").counts.reused > 0
    else:
        report = pipeline.run(source, data, executor="children", progress=False)
    assert (report.status, report.step("complete").counts.failed) == ("done", 0)
    assert len(list(kills.iterdir())) == times
    pipeline.run(source, tmp_path / "local", progress=False)
    assert arrays(data) == arrays(tmp_path / "local")


def ask(data: Path, executor: str = "children", **settings):
    pipeline = sg.Pipeline(
        sg.complete("asking", model="toy/one", batch_size=1, workers=2),
        models=PRICED,
        gateway=GatewaySettings(**settings),
    )
    return pipeline.run(sg.source("toy", count=12), data, executor=executor, progress=False)


def test_a_model_is_asked_from_there_through_the_one_gateway(children, tmp_path):
    report = ask(tmp_path / "away")
    assert report.step("complete").counts.computed == 11
    assert [(one.image_id, one.reason) for one in report.failures] == [("00005", "http_422")]
    local = ask(tmp_path / "local", "local")
    assert [(one.image_id, one.reason, one.detail) for one in report.failures] == [
        (one.image_id, one.reason, one.detail) for one in local.failures
    ]
    snapshots = [sg.Dataset.open(tmp_path / name).snapshot for name in ("away", "local")]
    calls = [
        [[call.call_id for call in snapshot.provenance.of_image(row)] for row in range(12)] for snapshot in snapshots
    ]
    assert calls[0] == calls[1]
    assert [len(found) for found in calls[0]] == [1] * 5 + [0] + [1] * 6
    assert arrays(tmp_path / "away") == arrays(tmp_path / "local")
    with closing(sqlite3.connect(tmp_path / "away/responses.sqlite")) as file:
        assert file.execute("SELECT COUNT(*) FROM response WHERE outcome = 'ok'").fetchone() == (11,)


def test_a_budget_that_is_reached_ends_the_run_from_there(children, tmp_path):
    # A call costs 0.002 USD: 100 tokens in at 10 USD for a million, 10 out at 100.
    report = ask(tmp_path / "away", budget_usd=0.012)
    assert (report.status, report.exit_code) == ("budget", 3)
    assert 0 < report.step("complete").counts.computed < 11
    assert ask(tmp_path / "away").step("complete").counts.reused > 0


def test_after_ctrl_c_the_batch_that_runs_there_is_kept_and_no_other_begins(children, tmp_path, monkeypatch):
    begins, until = tmp_path / "begins", tmp_path / "until"
    stopped = threading.Event()
    stop = ChildCrew.stop

    def stop_and_tell(crew: ChildCrew) -> None:
        stop(crew)
        stopped.set()

    def press() -> None:
        wait_until(lambda: bool(read_log(begins)), "the first batch")
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(LONGEST)
        until.touch()

    monkeypatch.setattr(ChildCrew, "stop", stop_and_tell)
    pipeline = sg.Pipeline(sg.complete("holding", begins=str(begins), until=str(until), batch_size=2))
    source = sg.source("toy", count=12)
    pressing = threading.Thread(target=press)
    pressing.start()
    report = pipeline.run(source, tmp_path / "away", executor="children", progress=False)
    pressing.join()
    # The batch behind the one that ran lay there already: it may have begun when the stop came.
    assert (report.exit_code, report.step("complete").counts.computed in (2, 4)) == (130, True)
    report = pipeline.run(source, tmp_path / "away", executor="children", progress=False)
    assert (report.exit_code, report.step("complete").counts.reused in (2, 4)) == (0, True)
    pipeline.run(source, tmp_path / "local", progress=False)
    assert arrays(tmp_path / "away") == arrays(tmp_path / "local")


class Telling(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_what_cannot_leave_works_here_and_the_plan_says_so(children, tmp_path):
    executor, progress = ChildExecutor(), Telling()
    log = tmp_path / "log"
    pipeline = sg.Pipeline(
        sg.segment("toy"), sg.complete("toy-async"), sg.complete(ToyTeacher(engine_toys.StageOptions(log=str(log))))
    )
    report = pipeline.run(sg.source("toy", count=3), tmp_path / "away", executor=executor, progress=progress)
    assert report.status == "done"
    assert [work.method for work in executor.opened] == ["segment"]
    assert len(read_log(log)) == 3
    here = [note for note in progress.notes if "works in this process" in note]
    assert here == [
        "step 'complete' works in this process, not with executor ChildExecutor: it is async",
        "step 'complete-2' works in this process, not with executor ChildExecutor: an instance cannot be sent",
    ]


def test_a_component_that_cannot_be_set_up_there_is_the_error_it_is_here(children, tmp_path):
    pipeline = sg.Pipeline(sg.segment("toy", setup_error="no weights", workers=2))
    with pytest.raises(StepError, match=r"^segmenter 'toy' could not be set up: RuntimeError: no weights"):
        pipeline.run(sg.source("toy"), tmp_path / "away", executor="children", progress=False)


def test_an_executor_that_is_not_there_is_told_with_the_near_one(children, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no executor 'childern'; did you mean 'children'\?"):
        sg.Pipeline(sg.segment("toy")).run(sg.source("toy"), tmp_path / "d", executor="childern", progress=False)
