"""What a stranger may send, mutated at random: the short form of benchmarks/hostile.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.waiting import LONGEST

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hostile.py"


def test_nothing_that_a_stranger_sends_crashes_hangs_or_leads_outside():
    command = [sys.executable, str(SCRIPT), "--trials", "30", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["trials"] == 30
    names = ("crashes", "hangs", "reads_outside", "escapes", "beyond_bound")
    assert [found[name] for name in names] == [0] * len(names)
    assert found["peak_mb"] <= found["bound_mb"]
