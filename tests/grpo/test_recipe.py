"""The recipe of R1-SGG's table runs as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.environment import ROOT
from support.extras import needs_extra

needs_extra("grpo")
needs_extra("robin")


@pytest.mark.slow
def test_it_prints_a_row_for_training_alone_and_for_each_reward(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples/r1sgg/run.py"), "--small", "--folder", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["failure", "rate", "R@50", "mR@50"]
    assert [row[:28].strip() for row in rows] == [
        "SFT",
        *(f"SFT, then RL ({arm})" for arm in ("hard", "hard-relax", "soft")),
    ]
    assert all(row.count("%") == 3 for row in rows)
