"""What a stranger may send, mutated at random: the short form of benchmarks/hostile.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import LONGEST

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hostile.py"


@pytest.mark.parametrize("trials", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_nothing_that_a_stranger_sends_crashes_hangs_or_leads_outside(trials):
    command = [sys.executable, str(SCRIPT), "--trials", str(trials), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["trials"] == trials
    names = ("crashes", "hangs", "reads_outside", "escapes", "beyond_bound")
    assert [found[name] for name in names] == [0] * len(names)
    assert found["peak_mb"] <= found["bound_mb"]
