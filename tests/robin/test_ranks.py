"""A training in two processes: killed wherever, it goes on to the same losses; alone it has them up to rounding."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.environment import ROOT
from support.waiting import wait_until
from torch import Tensor

CONFIG = """
dataset = "data"

[source]
use = "scenes"
folder = "scenes"
count = 21
size = 64
split = "train"

[[step]]
train = "robin"
steps = 5
images = 6
capacity = 700
save_every = 1
pair_head = true
spoken = 0.6
sharding = "%s"
run = {processes = %d}
"""


def begin(folder: Path, processes: int, sharding: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(CONFIG % (sharding, processes))
    return subprocess.Popen(
        [sys.executable, "-m", "sgforge", "run", "config.toml"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(folder: Path, sharding: str, processes: int = 2) -> None:
    driver = begin(folder, processes, sharding)
    said = driver.communicate()[0]
    assert driver.returncode == 0, said


def metrics(folder: Path) -> list[dict[str, float]]:
    found = [line for path in folder.glob("data/steps/*/metrics.jsonl") for line in path.read_text().splitlines()]
    # What a killed training was writing may be cut.
    return [json.loads(line) for line in found if line.endswith("}")]


def losses(folder: Path) -> list[float]:
    by_step = {one["step"]: one["value"] for one in metrics(folder) if one["metric"] == "loss"}  # type: ignore[comparison-overlap]
    return [by_step[step] for step in sorted(by_step)]


def digest(folder: Path) -> str:
    (found,) = folder.glob("data/steps/*/checkpoint.json")
    return str(json.loads(found.read_text())["sha256"])


def weights(folder: Path) -> dict[str, Tensor]:
    (found,) = folder.glob("data/steps/*/**/model.safetensors")
    return load_file(found)


def ranks_of(driver: int) -> list[int]:
    """The processes that a run has started, in their order."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, parent = path.read_text().split(") ")[0].split()[0], path.read_text().rsplit(") ", 1)[1].split()[1]
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == driver and b"training.child" in command:
            found.append(int(pid))
    return sorted(found)


def kill_after(folder: Path, step: int, victim: str, sharding: str) -> None:
    """Run until so many steps are done, then kill the driver or a rank; all have ended then."""
    driver = begin(folder, 2, sharding)
    wait_until(lambda: len(losses(folder)) >= step or driver.poll() is not None, f"step {step}")
    assert driver.poll() is None, driver.communicate()[0]
    ranks = ranks_of(driver.pid)
    assert len(ranks) == 2
    os.kill(driver.pid if victim == "driver" else ranks[int(victim[-1])], signal.SIGKILL)
    driver.communicate()
    assert driver.returncode
    wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in ranks), "the end of both ranks")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("sharding", ["replicated", "sharded"])
def test_killed_at_any_step_it_goes_on_to_the_bit(tmp_path: Path, sharding: str) -> None:
    finish(tmp_path / "whole", sharding)
    expected = losses(tmp_path / "whole")
    assert len(expected) == 5
    told = {one["metric"] for one in metrics(tmp_path / "whole")}
    assert told == {"loss", "tokens_s", "memory_gb"}
    cut = tmp_path / "cut"
    for step, victim in ((1, "driver"), (2, "rank 0"), (4, "rank 1")):
        kill_after(cut, step, victim, sharding)
    finish(cut, sharding)
    assert losses(cut) == expected
    assert digest(cut) == digest(tmp_path / "whole")
    finish(tmp_path / "alone", sharding, 1)
    assert losses(tmp_path / "alone") == pytest.approx(expected, rel=1e-4)
    one, two = weights(tmp_path / "alone"), weights(cut)
    assert one.keys() == two.keys()
    assert max(float((value - two[name]).abs().max()) for name, value in one.items()) < 1e-3
