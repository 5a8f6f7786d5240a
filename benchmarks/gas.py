"""Generate Any Scene: structures, graphs with captions, a million of them into a dataset.

The rate of graphs with captions stands against the one that upstream's code had, 27 a second at complexity 7, on a
machine where a pure-Python loop of 2,000,000 `s += i * i` took 0.14 s: that loop is timed again around every round.
Seconds of structures, loop and captions are those of the processor, in one process, so that other work does not count.
Beside it stands what `sgforge gas sample --captions` writes to a file with a process for each processor, by the clock,
its start included. Prints one JSON line. `--dataset N` also writes N captions into a dataset.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

UPSTREAM_RATE = 27.0
UPSTREAM_LOOP_S = 0.14
UPSTREAM_STRUCTURES_S = 241.0
STRUCTURES = """
import json, sys, time
started = time.process_time()
from sgforge_gas.structures import table
count = sum(len(table().block(complexity)) for complexity in range(1, int(sys.argv[1]) + 1))
last = len(table().block(int(sys.argv[1])))
print(json.dumps({"seconds": time.process_time() - started, "all": count, "last": last}))
"""
DATASET = """
import resource, sys, time
from pathlib import Path
import sgforge as sg
started, begun = time.perf_counter(), time.process_time()
source = sg.source("gas", count=int(sys.argv[2]), complexity=[7], split="train")
sg.Pipeline(sg.caption("gas", spans=False)).run(source, Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.perf_counter() - started, time.process_time() - begun, peak)
"""


def loop(clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of the loop that upstream's rate is told against."""
    started = clock()
    total = 0
    for number in range(2_000_000):
        total += number * number
    return clock() - started


def structures(complexity: int) -> dict[str, float]:
    """Seconds in a fresh process until every structure up to this complexity is in the table."""
    done = subprocess.run(
        [sys.executable, "-c", STRUCTURES, str(complexity)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def captions(rounds: int, count: int, *, as_objects: bool = False) -> tuple[float, float]:
    """Graphs with captions a second, and that over upstream's rate on a machine as fast: the best round.

    Regions become objects when they are asked for, which nothing here does without `as_objects`.
    """
    from sgforge_gas.captions import Writer
    from sgforge_gas.config import GasOptions
    from sgforge_gas.sampling import Sampler

    sampler, writer = Sampler(GasOptions(complexity=(7,))), Writer()
    gc.disable()  # as `sgforge gas sample` does
    best = (0.0, 0.0)
    for number in range(rounds):
        before = loop()
        started = time.process_time()
        for sample in sampler.samples(range(number * count, (number + 1) * count)):
            if as_objects:
                len(sample.graph.all.regions)
            writer.caption(sample.graph)
        seconds = time.process_time() - started
        scale = (before + loop()) / 2 / UPSTREAM_LOOP_S
        best = max(best, (count / seconds * scale / UPSTREAM_RATE, count / seconds))
    return best[1], best[0]


def written(workers: int, count: int) -> tuple[float, float]:
    """As `captions`, of the command that writes graphs and captions to a file."""
    arguments = ["gas", "sample", "--complexity", "7", "--captions", "--count", str(count), "--workers", str(workers)]
    with tempfile.TemporaryDirectory() as folder:
        before = loop(time.perf_counter)
        started = time.perf_counter()
        command = [sys.executable, "-m", "sgforge", *arguments, "--output", str(Path(folder) / "g.jsonl")]
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
    scale = (before + loop(time.perf_counter)) / 2 / UPSTREAM_LOOP_S
    return count / seconds, count / seconds * scale / UPSTREAM_RATE


def digest(workers: int, count: int) -> str:
    """Of the graphs and captions that the command writes with so many processes."""
    arguments = ["gas", "sample", "--count", str(count), "--captions", "--workers", str(workers)]
    done = subprocess.run([sys.executable, "-m", "sgforge", *arguments], check=True, capture_output=True)
    return hashlib.sha256(done.stdout).hexdigest()


def dataset(count: int) -> dict[str, float]:
    """Seconds and GiB of memory to draw, caption and publish so many graphs.

    `minutes_a_million`: of a processor on which the loop takes 0.14 s, reckoned from so many.
    """
    before = loop()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", DATASET, str(Path(folder) / "d"), str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, of_processor, peak = map(float, done.stdout.split()[-3:])
    scale = (before + loop()) / 2 / UPSTREAM_LOOP_S
    return {
        "captions": count,
        "seconds": round(seconds, 1),
        "processor_seconds": round(of_processor, 1),
        "minutes_a_million": round(of_processor / scale / count * 1e6 / 60, 1),
        "peak_gib": round(peak, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="fewer graphs, structures to complexity 12")
    parser.add_argument("--dataset", type=int, metavar="N", help="write N captions into a dataset (bar: 1,000,000)")
    args = parser.parse_args()
    twelve = structures(12)
    rate, ratio = captions(3, 2000 if args.small else 10000)
    _, ratio_as_objects = captions(3, 2000 if args.small else 10000, as_objects=True)
    workers = os.cpu_count() or 1
    file_rate, file_ratio = written(workers, 10000 if args.small else 100000)
    count = 5000 if args.small else 20000
    found = {
        "benchmark": "gas",
        "structures_12_s": round(twelve["seconds"], 2),
        "structures_12": int(twelve["last"]),
        "upstream_structures_12_s": UPSTREAM_STRUCTURES_S,
        "captions_per_s": round(rate),
        "captions_over_upstream": round(ratio),
        "captions_as_objects_over_upstream": round(ratio_as_objects),
        "processes": workers,
        "written_per_s": round(file_rate),
        "written_over_upstream": round(file_ratio),
        "same_with_8_workers": digest(1, count) == digest(8, count),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "bars": {"structures_12_s": 1, "structures_16_s": 20, "captions_over_upstream": 500},
    }
    if not args.small:
        sixteen = structures(16)
        found |= {"structures_16_s": round(sixteen["seconds"], 1), "structures_16": int(sixteen["last"])}
    if args.dataset:
        found["dataset"] = dataset(args.dataset)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
