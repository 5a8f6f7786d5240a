"""SIGKILL at random moments: the short form of benchmarks/kill.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from engine_toys import arrays, toy_environment
from support.waiting import LONGEST

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill.py"


@pytest.mark.slow
def test_killed_runs_lose_double_and_tear_nothing():
    command = [sys.executable, str(SCRIPT), "--kills", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert sum(found["kills"].values()) == 8
    assert [found[name] for name in ("lost", "doubled", "torn", "different")] == [0, 0, 0, 0]


FULL_DISK = """\
import resource, sys
import sgforge as sg
from engine_toys import ToySource, SourceOptions, ToySegmenter, ToyTeacher, StageOptions
if sys.argv[2] != "free":
    # No file may grow over so many bytes: what a full disk does to the journal and to snapshots, without filling one.
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
pipeline = sg.Pipeline(sg.segment(ToySegmenter(), batch_size=5), sg.complete(ToyTeacher(StageOptions(amount=60))))
report = pipeline.run(ToySource(SourceOptions(count=400)), sys.argv[1], progress=False)
print(report.step("segment").counts.reused, report.step("segment").counts.computed)
"""


def run_with_disk(folder: Path, size: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(FULL_DISK)
    return subprocess.run(
        [sys.executable, str(script), str(folder / "data"), size],
        env=toy_environment(folder / "site"),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def test_a_full_disk_ends_the_run_with_a_clear_error_and_loses_nothing(tmp_path):
    full = run_with_disk(tmp_path, "600000")
    assert full.returncode == 1
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith("sgforge.errors.DatasetError: ")
    assert "kept, run again after mending it" in last
    mended = run_with_disk(tmp_path, "free")
    assert mended.returncode == 0, mended.stderr
    reused, computed = map(int, mended.stdout.split())
    assert reused > 0
    assert reused + computed == 400
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    run_with_disk(fresh, "free")
    assert arrays(tmp_path / "data") == arrays(fresh / "data")
