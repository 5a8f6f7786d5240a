"""The benchmarks of Robin run at their smallest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.environment import ROOT
from support.waiting import LONGEST


def figures(*command: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_the_one_for_a_gpu(tmp_path: Path) -> None:
    command = ("benchmarks/gpu/robin.py", "--work", str(tmp_path), "--small")
    found = figures(*command)
    assert float(str(found["loss_apart"])) < 1e-5
    assert float(str(found["gradient_apart"])) < 1e-4
    (tmp_path / "trainer.json").unlink()
    again = figures(*command)  # cut before its last part
    assert again["answers_s"] == found["answers_s"]


@pytest.mark.slow
def test_speed() -> None:
    found = figures("benchmarks/robin.py", "--small")
    assert found["equal_ids"] is True
    assert found["import_light"] is True
    assert float(str(found["rows_full"])) >= 0.95


@pytest.mark.slow
def test_what_it_learns(tmp_path: Path) -> None:
    found = figures("benchmarks/robin_learns.py", "--work", str(tmp_path), "--small", "--arm", "head-alone")
    assert found["arm"] == "head-alone"
    edited = figures("benchmarks/sg_edit_learns.py", "--work", str(tmp_path), "--small")
    assert set(edited["R@50"]) == {"seed", "unedited", "edited 10", "edited 30", "many", "remove-only"}
