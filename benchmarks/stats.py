"""`sgforge stats` at the size of Synthetic Visual Genome: CPU seconds and peak memory of the whole command.

The synthetic dataset is made once per machine. The counts are checked against those of whole columns.

    python benchmarks/stats.py            python benchmarks/stats.py --small
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from synthesize import FULL, snapshot_of

from sgforge.dataset import Snapshot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="5,000 images")
    images = 5_000 if parser.parse_args().small else FULL
    # Made elsewhere: a child starts with the peak memory of its parent.
    synthesize = [sys.executable, Path(__file__).with_name("synthesize.py"), "--images", str(images)]
    subprocess.run(synthesize, check=True, stdout=subprocess.DEVNULL)
    snapshot = snapshot_of(images)
    cpu, peak = _command(snapshot.path.parents[1], snapshot)
    figures = {"cpu_s": round(cpu, 2), "bar_cpu_s": 3, "peak_mb": round(peak), "bar_peak_mb": 300}
    print(json.dumps({"benchmark": "stats", **snapshot.meta.counts, **figures}))


def _command(folder: Path, snapshot: Snapshot) -> tuple[float, float]:
    """CPU seconds and peak MB of the command in a process of its own."""
    command = [sys.executable, "-m", "sgforge", "stats", str(folder), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        printed = json.loads(child.stdout.read())
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    _check(printed, snapshot)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def _check(printed: dict[str, object], snapshot: Snapshot) -> None:
    # All regions are kept, so a relation is kept where it was not rejected.
    kept = snapshot.array("relation/status").read() == 0
    assert printed["images"] == len(snapshot)
    assert printed["relations"] == int(kept.sum())
    assert printed["relations_rejected"] == int((~kept).sum())
    assert printed["predicates"] == len(np.unique(snapshot.array("relation/predicate").read()[kept]))


if __name__ == "__main__":
    main()
