"""Refining the renderer `tokens` by `grpo`: what a kill leaves is taken up, to the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from support.extras import needs_extra
from support.metrics import is_at, told
from support.waiting import wait_until

needs_extra("grpo")  # torch and safetensors

import sgforge as sg  # noqa: E402

SCENES = Path(__file__).parents[2] / "examples/gas/scenes.toml"
STEPS = 12
CHILD = "import sys; from pathlib import Path; from gas.test_refining import refined; refined(Path(sys.argv[1]))"


def refined(data: Path) -> sg.Report:
    """Teach the renderer a little and refine it, in processes of their own."""
    source = sg.source("gas", count=8, complexity=(3, 5), vocabulary=SCENES, scene_attributes=(0,), split="train")
    judged = {"use": "scene-questions", "judge": {"use": "drawn"}}
    steps = [
        sg.question("gas", vocabulary=SCENES),
        sg.train("tokens", steps=3, width=16, layers=1),
        sg.refine("grpo", rewards=[judged], steps=STEPS, batch=3, group=4, rate=0.003, save_every=3),
    ]
    return sg.Pipeline(*steps).run(source, data, progress=False)


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = refined(tmp_path / "whole").step("refine").checkpoint
    data = tmp_path / "data"
    found_here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(data)], stderr=subprocess.PIPE, env=found_here)
    wait_until(partial(is_at, data, "reward", 4, child), "step 4")
    assert child.poll() is None, child.stderr.read().decode()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert max(told(data, "reward")) < STEPS - 1
    again = refined(data).step("refine").checkpoint
    assert again.sha256 == whole.sha256
    rewards = told(data, "reward")
    assert rewards == told(tmp_path / "whole", "reward")
    assert sorted(rewards) == list(range(STEPS))
    assert len(set.union(*rewards.values())) > 1
