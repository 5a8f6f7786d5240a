"""The Python face: the same dataset as from TOML, in scripts, notebooks and threads."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import engine_toys
import pytest
from engine_toys import arrays
from support.waiting import LONGEST

import sgforge as sg
from sgforge.cli.main import main
from sgforge.engine.reporting.events import BatchFinished, RunFinished, RunStarted, StepFinished
from sgforge.errors import ConfigError, StepError
from sgforge.stages import Selection
from sgforge.steps import selection_of
from sgforge.testing import IsolatedPlugins

CONFIG = """\
dataset = "{data}"
branch = "trial"

[sources.seed]
use = "toy"
count = 20
relations = 2

[sources.new]
use = "toy"
start = 50
count = 10

[[step]]
segment = "toy"
amount = 3

[[step]]
complete = "toy-async"
on = {{ source = "seed" }}
workers = 4

[[step]]
filter = "toy"
name = "low scores"
amount = 50
batch_size = 7

[[step]]
train = "toy"
on = {{ source = "seed", split = ["train", "val"] }}

[[step]]
generate = "toy"
on = {{ source = "new" }}

[[step]]
edit = "toy"

[[step]]
evaluate = "toy"
weights = "train"
"""


def test_python_and_toml_make_identical_arrays(toys_everywhere, tmp_path, capsys):
    config = tmp_path / "pipeline.toml"
    config.write_text(CONFIG.format(data=tmp_path / "toml"))
    assert main(["run", str(config)]) == 0
    pipeline = sg.Pipeline(
        sg.segment("toy", amount=3),
        sg.complete("toy-async", on={"source": "seed"}, workers=4),
        sg.filter("toy", name="low scores", amount=50, batch_size=7),
        sg.train("toy", on=Selection(("seed",), ("train", "val"))),
        sg.generate("toy", on={"source": ["new"]}),
        sg.edit("toy"),
        sg.evaluate("toy", weights="train"),
    )
    sources = {"seed": sg.source("toy", count=20, relations=2), "new": sg.source("toy", start=50, count=10)}
    report = pipeline.run(sources, tmp_path / "python", branch="trial", progress=False)
    assert arrays(tmp_path / "python", "trial") == arrays(tmp_path / "toml", "trial")
    assert "branch trial" in capsys.readouterr().out

    # One way of computing keys: what the TOML made, Python need not make again.
    again = pipeline.run(sources, tmp_path / "toml", branch="trial", progress=False)
    assert {step.counts.computed for step in again.steps} == {0}
    assert again.step("train").checkpoint.sha256 == report.step("train").checkpoint.sha256


def small(folder: Path, **settings):
    pipeline = sg.Pipeline(sg.segment("toy"), sg.complete("toy-async"))
    return pipeline.run(sg.source("toy", count=10), folder, progress=False, **settings)


def test_a_run_works_inside_a_running_event_loop(toys, tmp_path):
    async def notebook_cell():
        return small(tmp_path / "data")

    assert asyncio.run(notebook_cell()).exit_code == 0


def test_a_run_works_in_any_thread(toys, tmp_path):
    reports = []
    thread = threading.Thread(target=lambda: reports.append(small(tmp_path / "data")))
    thread.start()
    thread.join(LONGEST)
    assert reports[0].exit_code == 0


def test_two_runs_on_two_datasets_at_once(toys, tmp_path):
    threads = [threading.Thread(target=small, args=(tmp_path / str(number),)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
    assert arrays(tmp_path / "0") == arrays(tmp_path / "1") == arrays(tmp_path / "2")


def test_an_instance_may_be_the_source(toys, tmp_path):
    class Two:
        def samples(self, roots, name):
            yield engine_toys.sample("b")
            yield engine_toys.sample("a")

    sg.Pipeline(sg.complete("toy")).run(Two(), tmp_path / "data", progress=False)
    assert [sample.image_id for sample in sg.Dataset.open(tmp_path / "data")] == ["a", "b"]


def test_the_report_says_what_happened(toys, tmp_path):
    report = small(tmp_path / "data")
    assert report.dataset == tmp_path / "data"
    assert report.snapshot == report.step("complete").snapshot
    assert report.status == "done"
    with pytest.raises(KeyError, match="no step 'filter'; steps: source, segment, complete"):
        report.step("filter")


@pytest.mark.parametrize("wrong", [None, [sg.source("toy")], 3])
def test_what_is_no_source_is_told_before_any_work(toys, tmp_path, wrong):
    with pytest.raises(ConfigError, match=f"source 'source': {type(wrong).__name__} is no source, it has no method"):
        sg.Pipeline(sg.segment("toy")).run(wrong, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_source_with_an_empty_path_does_not_read_the_current_folder(tmp_path):
    with pytest.raises(ConfigError, match="source 'source': an empty path names no folder"):
        sg.Pipeline(sg.complete("geometry")).run(sg.source("folder", images=""), tmp_path / "data")


@pytest.mark.parametrize(("key", "value"), [("limit", "3"), ("limit", 2.0), ("seed", "x"), ("seed", None)])
def test_numbers_of_a_run_are_whole(toys, tmp_path, key, value):
    with pytest.raises(ConfigError, match=f"{key} must be a whole number"):
        sg.Pipeline(sg.segment("toy")).run(sg.source("toy", count=2), tmp_path / "data", **{key: value})


def test_a_tilde_is_the_home_folder(toys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    small("~/data")
    assert len(sg.Dataset.open(tmp_path / "data")) == len(list(sg.Dataset.open(tmp_path / "data"))) > 0


def test_a_limit_must_be_at_least_one(toys, tmp_path):
    with pytest.raises(ConfigError, match="limit must be a whole number from 1"):
        small(tmp_path / "data", limit=0)
    assert not (tmp_path / "data").exists()


def test_a_plan_with_problems_touches_nothing(toys, tmp_path):
    with pytest.raises(ConfigError):
        sg.Pipeline(sg.complete("nobody")).run(sg.source("toy"), tmp_path / "data", progress=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Selection()),
        ({"source": "a"}, Selection(sources=("a",))),
        ({"split": ["a", "b"]}, Selection(splits=("a", "b"))),
        (Selection(("x",)), Selection(("x",))),
    ],
)
def test_on_takes_names_and_lists(given, expected):
    assert selection_of(given) == expected


class Tracker:
    """A plugin that only listens."""

    def __init__(self):
        self.heard = []

    @sg.hookimpl
    def sgforge_run_started(self, event):
        self.heard.append(event)

    @sg.hookimpl
    def sgforge_batch_finished(self, event):
        self.heard.append(event)

    @sg.hookimpl
    def sgforge_step_finished(self, event):
        self.heard.append(event)

    @sg.hookimpl
    def sgforge_run_finished(self, event):
        self.heard.append(event)


@pytest.fixture
def tracker():
    tracker = Tracker()
    with IsolatedPlugins(engine_toys.this_plugin(), tracker):
        yield tracker


def test_event_hooks_hear_of_the_run_its_steps_and_its_batches(tracker, tmp_path, monkeypatch):
    monkeypatch.setattr("sgforge.engine.context._BEAT", LONGEST)  # a slow machine would tell twice a second
    pipeline = sg.Pipeline(sg.segment("toy"), sg.complete("toy-async", fail=["00003"]))
    report = pipeline.run(sg.source("toy", count=100), tmp_path / "data", progress=False)
    first, *middle, last = tracker.heard
    assert isinstance(first, RunStarted)
    assert first.steps == ("segment", "complete")
    assert isinstance(last, RunFinished)
    assert (last.status, last.exit_code, last.run_id) == ("failed-items", 4, first.run_id)
    assert last.counts["complete"].failed == 1
    steps = [event for event in middle if isinstance(event, StepFinished)]
    assert [(event.step, event.snapshot) for event in steps] == [(step.name, step.snapshot) for step in report.steps]
    for name in ("segment", "complete"):
        batches = [event for event in middle if isinstance(event, BatchFinished) and event.step == name]
        assert sum(event.items for event in batches) == 100
        assert sum(event.failed for event in batches) == (name == "complete")
        assert len(batches) == 2  # told when 64 images or more are through, and at the end


def test_a_failed_run_is_heard_of_too(tracker, tmp_path):
    with pytest.raises(StepError):
        sg.Pipeline(sg.segment("toy", setup_error="no")).run(sg.source("toy"), tmp_path / "data", progress=False)
    last = tracker.heard[-1]
    assert isinstance(last, RunFinished)
    assert last.status == "failed"
    assert "could not be set up" in last.message


def test_the_run_and_its_pipeline_are_logged_with_the_snapshot(toys, tmp_path):
    report = small(tmp_path / "data")
    snapshot = sg.Dataset.open(tmp_path / "data").snapshot
    assert snapshot.meta.step.name == "complete"
    assert snapshot.meta.step.component == "toy-async"
    assert snapshot.meta.step.counts["computed"] == 10
    assert report.snapshot == snapshot.id
