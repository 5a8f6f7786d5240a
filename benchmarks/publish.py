"""Publishing at the size of Synthetic Visual Genome: seconds, peak memory, and the bytes of a status-only step.

First a step whose journal holds every region and relation of the dataset (the parent has images alone), then a step
that only rejects one kept relation in ten, then one that also measures a degree for each verdict (random numbers,
which do not compress). Bars: 15 s and 3 GB for the first, 3 % of the dataset's bytes for the second.

    python benchmarks/publish.py            python benchmarks/publish.py --small
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import attrs
import msgpack
import numpy as np
from synthesize import FULL, snapshot_of

from sgforge.columns import GraphColumns, Ragged, RegionColumns, RelationColumns
from sgforge.columns.schema import Table, specs_of
from sgforge.dataset import Dataset, DatasetWriter, JournalRow, StepRecord
from sgforge.dataset.folder import SCHEMA
from sgforge.edits import Edit
from sgforge.packed import pack_edit
from sgforge.statekey import KEY_BYTES

_STEPS = {
    name: StepRecord(name, verb, "benchmark", f"fp-{name}")
    for name, verb in (("all", "edit"), ("judge", "filter"), ("measure", "filter"))
}


def prepare(images: int, folder: Path) -> None:
    """A dataset of images without graphs, and a journal with the two steps' answers."""
    columns = snapshot_of(images).columns()
    bare = attrs.evolve(
        columns,
        image=attrs.evolve(
            columns.image, region_count=columns.image.region_count * 0, relation_count=columns.image.relation_count * 0
        ),
        region=RegionColumns.blank(0),
        relation=RelationColumns.blank(0),
    )
    with DatasetWriter.open(folder) as writer:
        snapshot = writer.publish_source(bare, _keys(images, "source"))
        writer.move_branch("main", snapshot)
        ids = snapshot.image_ids
        for step, edits in (
            ("all", _full_edits(columns)),
            ("judge", _verdicts(columns, False)),
            ("measure", _verdicts(columns, True)),
        ):
            keys = _keys(images, step)
            rows = [
                JournalRow(
                    key=keys[row].tobytes(), image_id=ids[row], step=step, edit=edit, calls=(f"call-{row}",), run="run"
                )
                for row, edit in enumerate(edits)
            ]
            for start in range(0, images, 4096):
                writer.journal.put(rows[start : start + 4096])


def _keys(images: int, step: str) -> np.ndarray:
    return np.random.default_rng(len(step)).integers(0, 256, (images, KEY_BYTES), dtype=np.uint8)


def _full_edits(columns: GraphColumns) -> Iterator[bytes]:
    """Each image's whole graph as a packed edit, made from the columns (objects would take minutes)."""
    for row in range(len(columns)):
        part = columns.one(row)
        strings: dict[str, int] = {}
        region = _records(part.region, columns, strings, ("mask_len", "description_count", "attribute_count"))
        region["mask_frame"] = (part.image.height[0], part.image.width[0])
        description = part.region.description.values
        attribute = _local(part.region.attribute.values, columns.vocabularies.attribute, strings)
        block = [
            region.tobytes(),
            part.region.mask.values.tobytes(),
            description.counts.tobytes(),
            description.values.tobytes(),
            attribute.tobytes(),
        ]
        relation = _records(part.relation, columns, strings, ())
        empty = [b""] * 5
        yield msgpack.packb([1, list(strings), block, relation.tobytes(), b"", b"", empty, b"", None, {}, None])


def _records(table: Table, columns: GraphColumns, strings: dict[str, int], counts: tuple[str, ...]) -> np.ndarray:
    flat = [(spec, column) for spec, column in table.items() if not spec.ragged]
    fields = [(spec.name, "<" + spec.dtype, spec.shape) for spec, _ in flat] + [(name, "<u4") for name in counts]
    records = np.zeros(len(flat[0][1]), np.dtype(fields))
    for spec, column in flat:
        words = columns.vocabularies.of(spec.vocabulary) if spec.vocabulary else None
        records[spec.name] = column if words is None else _local(column, words, strings)
    ragged = [getattr(table, spec.name) for spec in specs_of(type(table)) if spec.ragged]
    for name, column in zip(counts, ragged, strict=True):
        assert isinstance(column, Ragged)
        records[name] = column.counts
    return records


def _local(ids: np.ndarray, words: tuple[str, ...], strings: dict[str, int]) -> np.ndarray:
    local = [strings.setdefault(words[index], len(strings)) if index >= 0 else -1 for index in ids.tolist()]
    return np.asarray(local, np.int32)


def _verdicts(columns: GraphColumns, with_degree: bool) -> Iterator[bytes]:
    rng = np.random.default_rng(3 + with_degree)
    # Filters see kept rows only; which of them are rejected is random, the worst case for compression.
    chosen = (rng.random(len(columns.relation.status)) < 0.1) & (columns.relation.status == 0)
    for first, last in pairwise(columns.image.relation_offsets.tolist()):
        judged = np.flatnonzero(chosen[first:last]).tolist()
        yield pack_edit(
            Edit.sum(Edit.reject(index, "vqa-no", rng.random() if with_degree else None) for index in judged)
        )


def publish(folder: Path) -> None:
    """In a fresh process: publish both steps; prints seconds, peak memory and bytes."""
    figures: dict[str, float] = {}
    with DatasetWriter.open(folder) as writer:
        snapshot = writer.snapshot("main")
        for name, step in _STEPS.items():
            started, cpu = time.perf_counter(), time.process_time()
            snapshot = writer.publish(step, snapshot, _keys(len(snapshot), name))
            figures[f"{name}_seconds"] = round(time.perf_counter() - started, 2)
            figures[f"{name}_cpu_seconds"] = round(time.process_time() - cpu, 2)
            figures[f"{name}_peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
            files = [path.stat() for path in snapshot.path.rglob("*") if path.is_file()]
            figures[f"{name}_megabytes"] = round(sum(file.st_size for file in files) / 1e6, 1)
            figures[f"{name}_new_megabytes"] = round(sum(file.st_size for file in files if file.st_nlink == 1) / 1e6, 2)
        writer.move_branch("main", snapshot)
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="5,000 images")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        publish(args.child)
        return
    images = 5_000 if args.small else FULL
    prepared = Path(tempfile.gettempdir()) / "sgforge-benchmarks" / f"publish-{SCHEMA}-{images}"
    if not (prepared / "ready").exists():
        shutil.rmtree(prepared, ignore_errors=True)
        prepare(images, prepared / "dataset")
        (prepared / "ready").touch()
    with tempfile.TemporaryDirectory(dir=prepared.parent) as scratch:
        folder = Path(scratch) / "dataset"
        shutil.copytree(prepared / "dataset", folder)
        # Else publishing would wait for the copy to reach the disk.
        os.sync()
        child = subprocess.run(
            [sys.executable, __file__, "--child", folder], check=True, capture_output=True, text=True
        )
        figures = json.loads(child.stdout)
        _compare(images, Dataset.open(folder).snapshot.columns())
    shares = {
        f"{name}_share": round(figures[f"{name}_new_megabytes"] / figures[f"{name}_megabytes"], 4)
        for name in ("judge", "measure")
    }
    print(json.dumps({"benchmark": "publish", "images": images, **shares, "bar_judge_share": 0.03, **figures}))


def _compare(images: int, columns: GraphColumns) -> None:
    """What was published is what was synthesized, but for the verdicts."""
    expected = snapshot_of(images).columns()
    for left, right in ((columns.region, expected.region), (columns.relation, expected.relation)):
        for spec, column in left.items():
            other = getattr(right, spec.name)
            if spec.vocabulary is None and spec.name not in ("status", "degree"):
                same = (
                    column.equals(other)
                    if isinstance(column, Ragged)
                    else np.array_equal(column, other, equal_nan=column.dtype.kind == "f")
                )
                assert same, spec.name


if __name__ == "__main__":
    main()
