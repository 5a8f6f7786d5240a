"""Figures of a training: kept line by line, shown, and told to event hooks while it runs."""

from __future__ import annotations

import io
import json
import math
import os
import threading
from pathlib import Path

import attrs
import engine_toys
import numpy as np
import pytest
import training_toys
from engine_toys import StudentOptions, ToyStudent
from support.waiting import LONGEST

import sgforge as sg
from sgforge.engine.executors.training.metrics import Figure, MetricsReader, MetricsWriter
from sgforge.engine.reporting.events import MetricReported
from sgforge.engine.reporting.progress import LineProgress
from sgforge.errors import StepError
from sgforge.testing import IsolatedPlugins


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_figure_is_a_line_once_the_call_returns(tmp_path):
    file = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(file)
    assert not file.exists()
    writer("loss", 0.5, 0)
    writer("lr", np.float32(0.25), np.int64(10))
    found = lines(file)
    assert [{key: value for key, value in line.items() if key != "time"} for line in found] == [
        {"metric": "loss", "value": 0.5, "step": 0},
        {"metric": "lr", "value": 0.25, "step": 10},
    ]
    writer.close()


def test_values_that_are_no_finite_numbers_stand_in_strict_json(tmp_path):
    file = tmp_path / "metrics.jsonl"
    reader, writer = MetricsReader(file), MetricsWriter(file)
    for value in (math.nan, math.inf, -math.inf):
        writer("loss", value, 1)
    assert [line["value"] for line in lines(file)] == ["NaN", "Infinity", "-Infinity"]
    assert [str(figure.value) for figure in reader.read()] == ["nan", "inf", "-inf"]


@pytest.mark.parametrize(
    "figure",
    [
        *(("", 1.0, 0), ("two\nlines", 1.0, 0), (3, 1.0, 0), ("loss", "0.5", 0), ("loss", None, 0)),
        *(("loss", 1.0, 0.5), ("loss", 1.0, -1), ("loss", 1.0, "1"), ("loss", 1.0, math.nan)),
    ],
)
def test_what_is_no_figure_is_refused_and_leaves_no_line(tmp_path, figure):
    file = tmp_path / "metrics.jsonl"
    with pytest.raises(StepError, match=r"^report: "):
        MetricsWriter(file)(*figure)
    assert not file.exists()


def test_a_torn_line_is_taken_off_before_the_next(tmp_path):
    file = tmp_path / "metrics.jsonl"
    MetricsWriter(file)("loss", 0.5, 0)
    whole = file.read_bytes()
    for torn in (b'{"metric": "lo', b"x" * 200_000):
        file.write_bytes(whole + torn)
        reader = MetricsReader(file)
        MetricsWriter(file)("loss", 0.25, 1)
        assert file.read_bytes().startswith(whole)
        assert [line["value"] for line in lines(file)] == [0.5, 0.25]
        assert list(reader.read()) == [Figure("loss", 0.25, 1)]


def test_a_file_that_points_elsewhere_is_refused(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        MetricsWriter(tmp_path / "metrics.jsonl")("loss", 0.5, 0)
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_only_new_and_whole_lines_are_read_and_odd_ones_passed_over(tmp_path):
    file = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(file)
    writer("loss", 1.0, 0)
    reader = MetricsReader(file)
    assert list(reader.read()) == []
    writer("loss", 2.0, 1)
    with file.open("ab") as stream:
        stream.write(b'nonsense\n[]\n{"metric": "loss", "value": "odd", "step": 1}\n\xff\n')
    writer("loss", 3.0, 2)
    with file.open("ab") as stream:
        stream.write(b'{"metric": "loss", "value": 4.0,')
    assert list(reader.read()) == [Figure("loss", 2.0, 1), Figure("loss", 3.0, 2)]
    with file.open("ab") as stream:
        stream.write(b' "step": 3}\n')
    assert list(reader.read()) == [Figure("loss", 4.0, 3)]


class Hearing:
    """A plugin that opens a gate at the first figure that it hears of."""

    def __init__(self, gate: Path | None = None) -> None:
        self.heard: list[MetricReported] = []
        self.gate = gate

    @sg.hookimpl
    def sgforge_metric_reported(self, event):
        self.heard.append(event)
        if self.gate is not None:
            self.gate.touch()


class Reporting(ToyStudent):
    """Tells figures, and trains on only when somebody has heard of the first."""

    def __init__(self, gate: Path) -> None:
        super().__init__(StudentOptions())
        self.gate = gate

    def train(self, snapshot_path, selection, out_dir, resources):
        resources.report("loss", 0.5, 0)
        ends = threading.Event()
        for _ in range(int(LONGEST * 100)):
            if self.gate.exists():
                break
            ends.wait(0.01)
        resources.report("loss", 0.25, 1)
        resources.report("lr", 1e-5, 1)
        return super().train(snapshot_path, selection, out_dir, resources)


def test_figures_are_told_and_shown_while_the_training_runs(tmp_path):
    hearing, shown = Hearing(tmp_path / "gate"), io.StringIO()
    with IsolatedPlugins(engine_toys, hearing):
        sg.Pipeline(sg.train(Reporting(tmp_path / "gate"))).run(
            sg.source("toy"), tmp_path / "data", progress=Eager(shown)
        )
    told = [attrs.asdict(event) for event in hearing.heard]
    run_id = told[0]["run_id"]
    expected = [("loss", 0.5, 0), ("loss", 0.25, 1), ("lr", 1e-5, 1)]
    assert told == [
        {"run_id": run_id, "step": "train", "metric": metric, "value": value, "at": at}
        for metric, value, at in expected
    ]
    (folder,) = (tmp_path / "data" / "steps").iterdir()
    assert [(line["metric"], line["value"], line["step"]) for line in lines(folder / "metrics.jsonl")] == expected
    said = shown.getvalue().splitlines()
    assert any(line.startswith("train: step 0, loss 0.5, ") for line in said), said
    assert any(line.startswith("train: step 1, loss 0.25, lr 1e-05, ") for line in said), said


class Eager(LineProgress):
    """Prints every line at once."""

    def measured(self, step, figures, at):
        self._running[step].pause = 0.0
        super().measured(step, figures, at)


def test_figures_of_child_processes_are_those_of_the_first(tmp_path, monkeypatch):
    hearing = Hearing()
    for name, value in training_toys.training_environment(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    with IsolatedPlugins(engine_toys, training_toys, hearing):
        step = sg.train("places", run={"processes": 2})
        sg.Pipeline(step).run(sg.source("toy"), tmp_path / "data", progress=False)
        assert [(event.metric, event.value, event.at) for event in hearing.heard] == [("rank", 0.0, 0)]
        # Taken from the folder, it tells nothing again.
        sg.Pipeline(step).run(sg.source("toy"), tmp_path / "data", progress=False)
    assert len(hearing.heard) == 1


def test_lines_of_earlier_runs_stay_and_are_not_told_again(tmp_path):
    for number in (1, 2):
        hearing = Hearing(tmp_path / "gate")
        with IsolatedPlugins(engine_toys, hearing):
            sg.Pipeline(sg.train(Reporting(tmp_path / "gate"))).run(sg.source("toy"), tmp_path / "data", progress=False)
        (folder,) = (tmp_path / "data" / "steps").iterdir()
        assert len(hearing.heard) == 3
        assert len(lines(folder / "metrics.jsonl")) == 3 * number
        os.remove(folder / "checkpoint.json")
