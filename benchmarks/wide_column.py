"""A status-only step beside a column of 10 GB: seconds, peak memory, and what of the column was written again.

Each region of the dataset has 1,024 float32 numbers that do not compress. The step rejects one relation of each image;
it must neither read nor write the column. Bars: 15 s and 3 GB.

    python benchmarks/wide_column.py            python benchmarks/wide_column.py --small
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sgforge.dataset import DatasetWriter, JournalRow, StepRecord
from sgforge.edits import Edit
from sgforge.graph import NumberArray, Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit
from sgforge.statekey import KEY_BYTES

_REGIONS = 30
_NUMBERS = 1024
_BYTES = 4 * _NUMBERS
_FULL = 81_380
"""Images: with 30 regions of 4 kB each, 10.0 GB."""
_STEP = StepRecord("judge", "filter", "benchmark", "fp-judge")


def _keys(images: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (images, KEY_BYTES), dtype=np.uint8)


def _samples(images: int) -> Iterator[Sample]:
    rng = np.random.default_rng(7)
    regions = [Region("thing") for _ in range(_REGIONS)]
    graph = SceneGraph(0, 0, regions, [Relation(index, "on", index + 1) for index in range(_REGIONS - 1)])
    for number in range(images):
        noise = rng.bytes(_REGIONS * _BYTES)
        values = {
            index: NumberArray("f4", (_NUMBERS,), noise[index * _BYTES : (index + 1) * _BYTES])
            for index in range(_REGIONS)
        }
        yield Sample(f"{number:08}", graph, region_values={"bench.wide": values})


def prepare(images: int, folder: Path) -> None:
    """A dataset whose regions have the column, and a journal with the answers of the step."""
    with DatasetWriter.open(folder) as writer:
        snapshot = writer.publish_source(_samples(images), _keys(images, 1))
        writer.move_branch("main", snapshot)
        packed = pack_edit(Edit.reject(0, "vqa-no", 0.5))
        keys = _keys(images, 2)
        for start in range(0, images, 4096):
            rows = range(start, min(start + 4096, images))
            writer.journal.put(
                [
                    JournalRow(
                        key=keys[row].tobytes(),
                        image_id=snapshot.image_ids[row],
                        step="judge",
                        edit=packed,
                        calls=(),
                        run="run",
                    )
                    for row in rows
                ]
            )


def publish(folder: Path) -> None:
    """In a fresh process: publish the step; prints seconds, peak memory and bytes."""
    with DatasetWriter.open(folder) as writer:
        parent = writer.snapshot("main")
        started = time.perf_counter()
        snapshot = writer.publish(_STEP, parent, _keys(len(parent), 2))
        seconds = time.perf_counter() - started
    column = [path.stat() for path in (snapshot.path / "region/bench.wide").rglob("*") if path.is_file()]
    # The group's own description is written anew; everything else of the column has a second name.
    figures = {
        "seconds": round(seconds, 2),
        "peak_gb": round(_peak_kb() / 1e6, 2),
        "column_gb": round(sum(file.st_size for file in column) / 1e9, 2),
        "column_written_again_kb": round(sum(file.st_size for file in column if file.st_nlink == 1) / 1e3, 2),
    }
    print(json.dumps(figures))


def _peak_kb() -> int:
    """Not ru_maxrss, which begins at what the process that started this one held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="1,000 images")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        publish(args.child)
        return
    images = 1_000 if args.small else _FULL
    with tempfile.TemporaryDirectory(prefix="sgforge-wide-") as scratch:
        folder = Path(scratch) / "dataset"
        started = time.perf_counter()
        prepare(images, folder)
        prepared = round(time.perf_counter() - started, 1)
        # Else publishing would wait for the column to reach the disk.
        os.sync()
        child = subprocess.run(
            [sys.executable, __file__, "--child", folder], check=True, capture_output=True, text=True
        )
    bars = {"bar_seconds": 15, "bar_peak_gb": 3, "prepared_seconds": prepared}
    print(json.dumps({"benchmark": "wide_column", "images": images, **json.loads(child.stdout), **bars}))


if __name__ == "__main__":
    main()
