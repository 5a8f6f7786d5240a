"""All relation columns to arrays against Parquet with zstd: CPU time, minimum of 3, warm cache, same run.

Both sides read every column of the relation table from disk and end with one numpy array per column (texts as ids
into their vocabulary). Bar: at most 0.6 of Parquet's CPU.

    python benchmarks/relations.py            python benchmarks/relations.py --small
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import peers
import pyarrow.parquet as pq
import zarr
from synthesize import FULL, snapshot_of

from sgforge.columns import RelationColumns
from sgforge.columns.schema import specs_of
from sgforge.dataset import Snapshot

_NAMES = [spec.name for spec in specs_of(RelationColumns)]


def best(read: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """Least CPU and wall seconds of a few calls."""
    found = []
    for _ in range(times):
        cpu, wall = time.process_time(), time.perf_counter()
        read()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in found), min(wall for _, wall in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="10,000 images")
    images = 10_000 if parser.parse_args().small else FULL
    path = snapshot_of(images).path
    file = peers.parquet(snapshot_of(images).columns(), images) / "relation.parquet"

    def ours() -> list[np.ndarray]:
        snapshot = Snapshot.open(path)
        return [np.asarray(snapshot.column(f"relation/{name}")) for name in _NAMES]

    def parquet() -> list[np.ndarray]:
        table = pq.read_table(file, columns=_NAMES, read_dictionary=["predicate", "reason", "made_by", "judged_by"])
        return [_numbers(table.column(name).combine_chunks()) for name in _NAMES]

    def plain_zarr() -> list[np.ndarray]:
        group = zarr.open_group(str(path), mode="r")
        return [group[f"relation/{name}"][:] for name in _NAMES]

    for left, right in zip(ours(), plain_zarr(), strict=True):
        assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    assert [len(array) for array in parquet()] == [len(array) for array in ours()]
    figures = {name: best(read) for name, read in (("ours", ours), ("parquet", parquet), ("plain_zarr", plain_zarr))}
    times = {
        f"{name}_{kind}_ms": round(1e3 * value, 1)
        for name, pair in figures.items()
        for kind, value in zip(("cpu", "wall"), pair, strict=True)
    }
    ratio = round(figures["ours"][0] / figures["parquet"][0], 3)
    print(json.dumps({"benchmark": "relations", "relations": len(ours()[0]), "ratio": ratio, "bar": 0.6, **times}))


def _numbers(column: object) -> np.ndarray:
    if hasattr(column, "indices"):
        column = column.indices
    return column.to_numpy(zero_copy_only=False)


if __name__ == "__main__":
    main()
