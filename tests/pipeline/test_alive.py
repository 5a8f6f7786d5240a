"""A run that has not ended shows how far it is: counts, failures, what is in flight, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import engine_toys
import pytest
from engine_toys import StageOptions, ToyTeacher, toy_environment
from PIL import Image
from support.waiting import LONGEST, wait_until

import sgforge as sg
from sgforge.engine.reporting.events import BatchFinished
from sgforge.engine.reporting.progress import LineProgress, NotebookProgress, StepTotal, choose_progress
from sgforge.engine.reporting.report import StepCounts, StepReport
from sgforge.engine.sources.reading import _chunks
from sgforge.stages import Failure
from sgforge.testing import IsolatedPlugins

SCRIPT = """\
import asyncio, os, sys
import sgforge as sg
from engine_toys import sample

FIRST, GATE, DATA = int(sys.argv[1]), sys.argv[2], sys.argv[3]

class Gated:
    "Answers the first few images; the others, of which the third fails, when it is let."
    async def complete(self, sample):
        number = int(sample.image_id)
        while number >= FIRST and not os.path.exists(GATE):
            await asyncio.sleep(0.01)
        return sg.Failure("odd") if number == 2 else sg.Edit()

class Source:
    def samples(self, roots, name):
        for number in range(40):
            yield sample(f"{number:05}")

sg.Pipeline(sg.complete(Gated(), workers=4)).run(Source(), DATA, progress=True)
"""


def start(folder: Path, first: int, stderr: int) -> tuple[subprocess.Popen[bytes], Path]:
    script, gate = folder / "script.py", folder / "gate"
    script.write_text(SCRIPT.replace("sg.Failure", "sg.stages.Failure"))
    environment = {**toy_environment(folder / "site"), "TERM": "xterm", "COLUMNS": "160"}
    arguments = [sys.executable, str(script), str(first), str(gate), str(folder / "data")]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=stderr), gate


def pieces(handle: int):
    """What comes out of a terminal or a pipe, as it comes."""
    while True:
        try:
            data = os.read(handle, 65536)
        except OSError:  # the last process that had the terminal is gone
            return
        if not data:
            return
        yield data.decode(errors="replace")


@pytest.mark.parametrize("first", [0, 5])
def test_a_bar_shows_what_is_done_and_what_is_in_flight(tmp_path, first):
    """The run goes on only when the bar has shown it: were it told every 64 images, it would never end."""
    ours, theirs = pty.openpty()
    process, gate = start(tmp_path, first, theirs)
    os.close(theirs)
    seen = ""
    for piece in pieces(ours):
        seen += piece
        shown = re.search(rf"{first}/40[^\r\n]*4 in flight", seen)
        if shown and ("1 failed" in seen or not first):
            gate.touch()
    assert process.wait(LONGEST) == 0
    os.close(ours)
    assert "complete: 39 computed, 0 reused, 1 failed" in seen


@pytest.mark.parametrize("first", [0, 5])
def test_plain_lines_show_it_too(tmp_path, first):
    ours, theirs = os.pipe()
    process, gate = start(tmp_path, first, theirs)
    os.close(theirs)
    seen = ""
    for piece in pieces(ours):
        seen += piece
        if re.search(rf"complete: {first} of 40, .*4 in flight.*\n", seen):
            gate.touch()
    assert process.wait(LONGEST) == 0
    os.close(ours)
    rate, failed, ends = (r"\d+\.\d/s, ", "1 failed, ", "left") if first else ("", "", "so far")
    assert re.search(rf"^complete: {first} of 40, {rate}4 in flight, {failed}\d+ s {ends}$", seen, re.M), seen


class Listening:
    """A plugin that hears of batches."""

    def __init__(self, hear) -> None:
        self.heard: list[BatchFinished] = []
        self.hear = hear

    @sg.hookimpl
    def sgforge_batch_finished(self, event):
        self.heard.append(event)
        self.hear(event)

    def of(self, step: str) -> tuple[int, int]:
        events = [event for event in self.heard if event.step == step]
        return sum(event.items for event in events), sum(event.failed for event in events)


def test_hooks_hear_of_few_images_and_of_failures_before_the_others_are_done(tmp_path):
    heard = threading.Event()
    listener = Listening(lambda event: heard.set() if listener.of("complete") == (5, 1) else None)

    class Gated(ToyTeacher):
        def complete(self, samples):
            if samples[0].image_id >= "00005":
                assert heard.wait(LONGEST)
            return [Failure("odd") if one.image_id == "00002" else sg.Edit() for one in samples]

    with IsolatedPlugins(engine_toys.this_plugin(), listener):
        gated = Gated(StageOptions())
        sg.Pipeline(sg.complete(gated, batch_size=5)).run(sg.source("toy", count=30), tmp_path, progress=False)
    assert listener.of("complete") == (30, 1)


def test_hooks_hear_of_sources_while_they_are_read(tmp_path):
    heard = threading.Event()
    listener = Listening(lambda event: heard.set() if event.step == "source" else None)

    class Slow:
        def samples(self, roots, name):
            for number in range(600):
                if number == 300:
                    assert heard.wait(LONGEST)
                yield engine_toys.sample(f"{number:05}")

    with IsolatedPlugins(engine_toys.this_plugin(), listener):
        sg.Pipeline(sg.segment("toy")).run(Slow(), tmp_path, progress=False)
    assert listener.of("source") == (600, 0)


def test_failed_items_of_a_source_are_told_as_failed(tmp_path):
    listener = Listening(lambda event: None)
    with IsolatedPlugins(engine_toys.this_plugin(), listener):
        source = sg.source("toy", count=20, broken=["00003", "00004"])
        sg.Pipeline(sg.segment("toy")).run(source, tmp_path, progress=False)
    assert listener.of("source") == (20, 2)


def test_twins_and_evaluations_are_told_to_the_last_image(tmp_path):
    """Six photos, each under two ids: six are computed, six take the answer, two of them a failure."""
    listener = Listening(lambda event: None)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        Image.new("RGB", (64, 64), (20 * (number // 2), 0, 0)).save(tmp_path / "photos" / f"{number:05}.png")
    source = sg.source("toy", count=12, folder="photos:", twins=True)
    with IsolatedPlugins(engine_toys.this_plugin(), listener):
        steps = (
            sg.segment("toy"),
            sg.complete("toy", fail=["00002"]),
            sg.train(engine_toys.ToyStudent()),
            sg.evaluate("toy"),
        )
        roots = {"photos": tmp_path / "photos"}
        report = sg.Pipeline(*steps).run(source, tmp_path / "data", progress=False, roots=roots)
    assert (report.step("segment").counts.computed, report.step("segment").counts.reused) == (6, 6)
    assert listener.of("segment") == (12, 0)
    assert listener.of("complete") == (12, 2)
    # 00004 and 00009 are held out.
    assert listener.of("evaluate") == (2, 0)


def test_a_slow_source_gives_short_chunks_and_a_quick_one_full_ones(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def slow(seconds: float):
        for number in range(600):
            now[0] += seconds
            yield number

    assert [len(chunk) for chunk in _chunks(slow(0.0))] == [256, 256, 88]
    # The first starts the clock; that at 0.6 s is the first one from half a second on.
    assert [len(chunk) for chunk in _chunks(slow(0.2))] == [4] * 150
    assert [one for chunk in _chunks(slow(0.07)) for one in chunk] == list(range(600))


def test_lines_come_soon_at_first_and_seldom_later(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.begin([StepTotal("complete", 100)])
    told = []
    for beat in range(120):
        now[0] = beat / 2
        before = len(stream.getvalue())
        progress.alive({"complete": 2})
        if len(stream.getvalue()) > before:
            told.append(now[0])
    # 1, 2, 4, 8 and then 10 seconds after the line before.
    assert told == [1.0, 3.0, 7.0, 15.0, 25.0, 35.0, 45.0, 55.0]
    assert stream.getvalue().splitlines()[1] == "complete: 0 of 100, 2 in flight, 1 s so far"
    progress.advance("complete", 4, 0, 0.0)
    now[0] = 80.0
    progress.alive({"complete": 1})
    # 4 images in 80 s are 3 a minute; the other 96 take 1920 s.
    assert stream.getvalue().splitlines()[-1] == "complete: 4 of 100, 3.0/min, 1 in flight, 32 min 00 s left"


def test_a_source_is_counted_without_a_total(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.begin([StepTotal("source", None)])
    now[0] = 4.0
    progress.advance("source", 1200, 3, 0.0)
    assert stream.getvalue() == "source: 1200 read, 300.0/s, 3 failed, 4 s so far\n"
    now[0] = 8.0
    progress.alive({"source": 0})
    assert stream.getvalue().splitlines()[1] == "source: 1200 read, 150.0/s, 3 failed, 8 s so far"


class Kernel:
    """What of IPython a display in a cell needs, kept as a notebook's page would show it."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self.kernel = self

    def display(self, data, *, raw, display_id):
        assert raw
        assert display_id
        self.outputs.append(data["text/plain"])
        number = len(self.outputs) - 1

        def update(data, *, raw):
            assert raw
            self.outputs[number] = data["text/plain"]

        return types.SimpleNamespace(update=update)


@pytest.fixture
def kernel(monkeypatch) -> Kernel:
    kernel = Kernel()
    shown = types.ModuleType("IPython.display")
    shown.display = kernel.display
    package = types.ModuleType("IPython")
    package.get_ipython = lambda: kernel
    package.display = shown
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return kernel


def test_a_notebook_has_one_output_that_is_redrawn(toys, tmp_path, kernel):
    heard = threading.Event()

    class Gated(ToyTeacher):
        def complete(self, samples):
            if samples[0].image_id >= "00005":
                wait_until(lambda: "complete: 5 of 30" in kernel.outputs[0], "the count in the cell's output")
                heard.set()
            return [sg.Edit() for _ in samples]

    gated = Gated(StageOptions())
    sg.Pipeline(sg.complete(gated, batch_size=5)).run(sg.source("toy", count=30), tmp_path)
    assert heard.is_set()
    (output,) = kernel.outputs
    lines = output.splitlines()
    assert [re.sub(r"\d+\.\d s", "T", line) for line in lines if "is always done again" not in line] == [
        "source: 30 computed, 0 reused (T)",
        "complete: 30 computed, 0 reused (T)",
    ]


def test_a_notebook_is_told_from_a_terminal_with_ipython(kernel):
    assert isinstance(choose_progress(None), NotebookProgress)
    assert isinstance(choose_progress(True), NotebookProgress)
    del kernel.kernel
    assert not isinstance(choose_progress(True), NotebookProgress)


def test_a_notebook_keeps_a_line_for_each_step_that_runs(kernel, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = NotebookProgress()
    progress.begin([StepTotal("a", 10), StepTotal("b", 10), StepTotal("known", 0, 10)])
    now[0] = 2.0
    progress.advance("a", 10, 0, 0.0)
    now[0] = 4.0
    progress.alive({"a": 0, "b": 3, "known": 0})
    assert kernel.outputs == ["b: 0 of 10, 3 in flight, 4 s so far"]
    progress.finish(StepReport("a", "complete", "toy", StepCounts(computed=10), 2.0))
    assert kernel.outputs == ["a: 10 computed, 0 reused (2.0 s)\nb: 0 of 10, 3 in flight, 4 s so far"]
    progress.close()
    assert kernel.outputs == ["a: 10 computed, 0 reused (2.0 s)"]
