"""One graph's arrays from disk against Lance: median wall time over random images, masks undecoded on both sides.

Read are boxes, labels, scores, masks (as stored) and descriptions of the regions, and subject, predicate, object,
category, score and status of the relations of one image. Lance holds one row per image with lists, and takes a row by
number. Both datasets are open already. Bar: at most 1.5 of Lance's time.

    python benchmarks/one_graph.py            python benchmarks/one_graph.py --small
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import lance
import numpy as np
import peers
import pyarrow as pa
from synthesize import FULL, snapshot_of

from sgforge.columns import GraphColumns
from sgforge.columns.schema import specs_of
from sgforge.dataset import Snapshot

_REGION = ("label", "box", "score", "mask", "description")
_RELATION = ("subject", "predicate", "object", "category", "score", "status")


def nested(columns: GraphColumns) -> pa.Table:
    """One row per image, its regions and relations as lists of each column."""
    image = columns.image
    flat = {"id": peers.table_of(image, columns.vocabularies).column("id").combine_chunks()}
    for name, names, counts in (
        ("region", _REGION, image.region_offsets),
        ("relation", _RELATION, image.relation_offsets),
    ):
        table = getattr(columns, name)
        for spec in specs_of(type(table)):
            if spec.name in names:
                # Ids without their texts, on both sides.
                values = peers.array_of(getattr(table, spec.name), None)
                flat[f"{name}_{spec.name}"] = pa.LargeListArray.from_arrays(pa.array(counts), values)
    return pa.table(flat)


def median_ms(read: Callable[[int], object], rows: np.ndarray) -> float:
    times = []
    for row in rows.tolist():
        started = time.perf_counter()
        read(row)
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="10,000 images")
    images = 10_000 if parser.parse_args().small else FULL
    snapshot = snapshot_of(images)
    folder = peers.CACHE / f"lance-{images}"
    if not folder.exists():
        lance.write_dataset(nested(snapshot.columns()), str(folder))
    dataset = lance.dataset(str(folder))
    names = [name for name in dataset.schema.names if name != "id"]

    paths = [f"region/{name}" for name in _REGION] + [f"relation/{name}" for name in _RELATION]

    def ours(row: int) -> list[object]:
        return snapshot.pick(row, paths)

    def theirs(row: int) -> dict[str, object]:
        table = dataset.take([row], columns=names)
        return {name: table.column(name).chunk(0).values for name in names}

    snapshot = Snapshot.open(snapshot.path)
    rows = np.random.default_rng(1).integers(0, images, 300)
    for row in rows[:20].tolist():
        mine, other = ours(row), theirs(row)
        found = dict(zip(paths, mine, strict=True))
        assert found["relation/subject"].tolist() == other["relation_subject"].to_pylist()
        assert found["region/mask"].byte_rows() == other["region_mask"].to_pylist()
    figures = [(median_ms(ours, rows), median_ms(theirs, rows)) for _ in range(3)]
    ours_ms, lance_ms = min(pair[0] for pair in figures), min(pair[1] for pair in figures)
    print(
        json.dumps(
            {
                "benchmark": "one_graph",
                "images": images,
                "ratio": round(ours_ms / lance_ms, 3),
                "bar": 1.5,
                "ours_ms": round(ours_ms, 3),
                "lance_ms": round(lance_ms, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
