"""SIGKILL at random moments: the short form of benchmarks/kill.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill.py"


def test_killed_runs_lose_double_and_tear_nothing():
    command = [sys.executable, str(SCRIPT), "--kills", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert sum(found["kills"].values()) == 8
    assert [found[name] for name in ("lost", "doubled", "torn", "different")] == [0, 0, 0, 0]
