"""The benchmark of what refining is worth runs at its smallest, and goes on where it was cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.environment import ROOT
from support.extras import needs_extra

needs_extra("grpo")
needs_extra("robin")


@pytest.mark.slow
def test_runs_that_are_done_are_not_made_again(tmp_path: Path) -> None:
    first = lines(tmp_path, "--arm", "grpo")
    assert {line["arm"] for line in first} == {"none", "grpo"}
    start = next(line for line in first if line["arm"] == "none")
    assert start["malformed"]["difference"] == [0.0, 0.0]
    assert 0 < start["malformed"]["before"] <= 1

    more = lines(tmp_path, "--arm", "grpo", "--arm", "sft")
    assert [line["arm"] for line in more] == ["sft"]
    kept = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert sorted(line["arm"] for line in kept) == ["grpo", "none", "sft"]


def lines(work: Path, *said: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(ROOT / "benchmarks/refiners_learn.py"), "--work", str(work), "--small"]
    done = subprocess.run(
        [*command, "--processes", "2", *said],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
