"""Start-up over many versions: CPU to know all states, from `states.index` against the keys of every snapshot.

python benchmarks/known_states.py            200 versions of 2,000 images
python benchmarks/known_states.py --small    20 versions
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from sgforge.columns import GraphColumns
from sgforge.dataset import DatasetWriter, StateIndex
from sgforge.dataset.folder import DatasetFolder
from sgforge.graph import Region, Sample, SceneGraph

IMAGES = 2000
ROUNDS = 5


def make(data: Path, versions: int) -> None:
    """Versions in each of which half of the states are new."""
    graph = SceneGraph(9, 9, [Region("cup", (0, 0, 5, 5))])
    columns = GraphColumns.from_samples([Sample(f"{number:05}", graph) for number in range(IMAGES)])
    chance = np.random.default_rng(0)
    keys = chance.integers(0, 256, (IMAGES, 16), np.uint8)
    with DatasetWriter.open(data) as writer:
        for _ in range(versions):
            keys = keys.copy()
            keys[chance.permutation(IMAGES)[: IMAGES // 2]] = chance.integers(0, 256, (IMAGES // 2, 16), np.uint8)
            writer.publish_source(columns, keys)
        writer.states()


def start(folder: DatasetFolder) -> tuple[float, int]:
    """The least milliseconds of CPU that a start takes, and how many states it finds."""
    least, count = float("inf"), 0
    for _ in range(ROUNDS):
        begun = time.process_time()
        count = len(StateIndex(folder))
        least = min(least, time.process_time() - begun)
    return least * 1e3, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="20 versions")
    versions = 20 if parser.parse_args().small else 200
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        make(data, versions)
        folder = DatasetFolder.open(data)
        size = folder.states_index.stat().st_size
        from_file, known = start(folder)
        folder.states_index.unlink()
        from_snapshots, read = start(folder)
    print(
        json.dumps(
            {
                "benchmark": "known_states",
                "versions": versions,
                "images": IMAGES,
                "states": known,
                "same": known == read,
                "index_bytes": size,
                "index_ms": round(from_file, 1),
                "snapshots_ms": round(from_snapshots, 1),
                "ratio": round(from_file / from_snapshots, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
