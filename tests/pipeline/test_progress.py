"""What people and machines see of a run."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from engine_toys import toy_environment
from PIL import Image
from support.waiting import LONGEST

import sgforge as sg
from sgforge.cli.main import main
from sgforge.engine.forecast.forecast import forecast
from sgforge.engine.reporting.progress import LineProgress, NoProgress, StepTotal, choose_progress

CONFIG = """\
dataset = "{data}"
[source]
use = "toy"
count = 40
[[step]]
segment = "toy"
[[step]]
train = "toy"
[[step]]
generate = "toy"
"""


def test_plain_lines_are_printed_where_there_is_no_terminal(toys, tmp_path, capsys):
    sg.Pipeline(sg.segment("toy")).run(sg.source("toy", count=30), tmp_path / "data", progress=True)
    told = capsys.readouterr().err.splitlines()
    lines = [line for line in told if not re.match(r"\w+: \d+ of 30,", line)]  # how far it is, on a slow machine
    assert re.fullmatch(r"source: 30 computed, 0 reused \(\d+\.\d s\)", lines[0])
    assert lines[1] == "segment: 30 to do, 0 known"
    assert re.fullmatch(r"segment: 30 computed, 0 reused \(\d+\.\d s\)", lines[2])
    assert len(lines) == 3


def test_a_report_shows_the_table_of_the_command(toys_everywhere, tmp_path, capsys):
    class Printer:
        """What IPython gives to `_repr_pretty_`."""

        def text(self, text):
            self.given = text

    config = config_file(tmp_path)
    steps = (sg.segment("toy"), sg.train("toy"), sg.generate("toy"))
    main(["run", config])
    capsys.readouterr()
    main(["run", config])
    table = capsys.readouterr().out
    report = sg.Pipeline(*steps).run(sg.source("toy", count=40), tmp_path / "data", progress=False)
    printer = Printer()
    report._repr_pretty_(printer, False)
    shown = [re.sub(r" in \d+\.\d s$", "", text) for text in (table.strip(), printer.given, str(report))]
    assert shown == [shown[0]] * 3
    assert table.splitlines()[1].split() == ["source", "0", "40", "0", "0"]
    assert repr(report) == f"<RunReport done: 4 steps, snapshot {report.snapshot[:12]} in {str(tmp_path / 'data')!r}>"


def test_nothing_is_printed_when_nobody_looks(toys, tmp_path, capsys):
    sg.Pipeline(sg.segment("toy")).run(sg.source("toy", count=3), tmp_path / "data")
    assert capsys.readouterr() == ("", "")


def test_lines_tell_rate_failures_cost_and_time_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.begin([StepTotal("complete", 100, 5)])
    now[0] += 20.0
    progress.advance("complete", 40, 2, 1.5)
    # 40 images in 20 s are 2/s; the other 60 need 30 s.
    assert stream.getvalue().splitlines()[-1] == "complete: 40 of 100, 2.0/s, 2 failed, $1.50, 30 s left"


def test_a_wish_for_progress_is_followed():
    assert isinstance(choose_progress(False), NoProgress)
    assert isinstance(choose_progress(None, io.StringIO()), NoProgress)
    assert isinstance(choose_progress(True, io.StringIO()), LineProgress)
    own = NoProgress()
    assert choose_progress(own) is own


def test_a_terminal_gets_a_live_display(tmp_path):
    config = tmp_path / "pipeline.toml"
    config.write_text(CONFIG.format(data=tmp_path / "data"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sgforge", "run", str(config)],
        env={**toy_environment(tmp_path / "site"), "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    output, _ = process.communicate(timeout=LONGEST)
    os.close(ours)
    assert process.returncode == 0
    assert b"segment: 40 computed" in seen
    assert b"\x1b[" in seen
    assert b"\x1b[" not in output


def config_file(folder, **changes):
    file = folder / "pipeline.toml"
    file.write_text(CONFIG.format(data=folder / "data"))
    return str(file)


def test_json_ends_with_one_object_of_counts_per_step(toys_everywhere, tmp_path, capsys):
    config = config_file(tmp_path)
    for computed, reused in ((40, 0), (0, 40)):
        assert main(["run", config, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert list(found["steps"]) == ["source", "segment", "train", "generate"]
        for name in ("source", "segment", "generate"):
            counts = {key: found["steps"][name][key] for key in ("computed", "reused", "failed")}
            assert counts == {"computed": computed, "reused": reused, "failed": 0}


def test_a_run_that_had_nothing_to_do_says_so(toys_everywhere, tmp_path, capsys):
    config = config_file(tmp_path)
    main(["run", config])
    assert "nothing had to be computed again" not in capsys.readouterr().out
    main(["run", config])
    assert "nothing had to be computed again" in capsys.readouterr().out


def test_a_run_with_a_limit_says_that_a_larger_branch_stays(toys_everywhere, tmp_path, capsys):
    config = config_file(tmp_path)
    main(["run", config])
    capsys.readouterr()
    assert main(["run", config, "--limit", "10"]) == 0
    made, note = capsys.readouterr().out.splitlines()[-2:]
    assert "(snapshot " in made
    assert note.startswith("branch main stays at ")
    assert note.endswith("with 10, name it with --branch or sgforge tag")
    assert main(["run", config, "--limit", "10", "--branch", "main"]) == 0
    assert "(branch main, snapshot " in capsys.readouterr().out.splitlines()[-1]


def test_a_plan_tells_what_a_run_would_do_and_does_nothing(toys_everywhere, tmp_path, capsys):
    config = config_file(tmp_path)
    assert main(["plan", config]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "40 images",
        "segment   toy: 40 to compute, 0 known",
        "train     toy: 32 to compute, 0 known",
        "generate  toy: known when 'train' has run",
    ]
    assert not (tmp_path / "data").exists()
    main(["run", config, "--limit", "10"])
    capsys.readouterr()
    main(["plan", config, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["steps"]["segment"]["compute"], found["steps"]["segment"]["reuse"]) == (30, 10)
    main(["run", config])
    capsys.readouterr()
    main(["plan", config, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [step["compute"] for step in found["steps"].values()] == [0, 0, 0]


def test_a_plan_and_the_run_after_it_agree(toys_everywhere, tmp_path):
    steps = (sg.segment("toy"), sg.complete("toy"), sg.train("toy"), sg.generate("toy"), sg.evaluate("toy"))
    for source in (sg.source("toy", count=20), sg.source("toy", count=23), sg.source("toy", count=23, relations=2)):
        pipeline = sg.Pipeline(*steps)
        request = pipeline.request(source, tmp_path / "data")
        told = forecast(request.resolve(toys_everywhere), request.dataset, request.roots)
        report = pipeline.run(source, tmp_path / "data", progress=False)
        for step in told.steps:
            if step.after is None:
                counts = report.step(step.step.name).counts
                assert (counts.computed, counts.reused) == (step.to_compute, step.reused)


def test_a_root_that_nothing_uses_is_told(toys, tmp_path, capsys):
    path = tmp_path / "pipeline.toml"
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "00000.png")
    source = 'use = "toy"\ncount = 1\nfolder = "used:"'
    path.write_text(f'dataset = "{tmp_path / "data"}"\n[source]\n{source}\n[[step]]\nsegment = "toy"\n')
    roots = ["--root", f"used={tmp_path / 'photos'}", "--root", f"nope={tmp_path}"]
    note = "root 'nope' is used by no source and no image: check its name"
    assert main(["plan", str(path), *roots]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [f"note: {note}"]
    assert main(["run", str(path), *roots]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "root" in line] == [note]


def test_a_bad_root_is_refused(toys, tmp_path, capsys):
    assert main(["run", config_file(tmp_path), "--root", "nowhere"]) == 2
    assert "--root 'nowhere' must read NAME=FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_help_has_examples(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"sgforge {command} pipeline.toml" in capsys.readouterr().out
