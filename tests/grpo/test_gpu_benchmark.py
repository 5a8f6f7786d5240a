"""The benchmark for a CUDA device runs here at tiny size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support.environment import ROOT
from support.extras import needs_extra

needs_extra("grpo")
needs_extra("robin")


def test_it_runs_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/gpu/grpo.py"), "--work", str(tmp_path), "--small"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["device"] == "cpu" or found["memory_gb"] > 0
    assert found["answers_a_step"] > 0
    assert found["lessons_a_step"] > 0
    assert found["mismatch"] < 1e-5
