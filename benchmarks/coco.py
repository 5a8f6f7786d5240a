"""COCO files against pycocotools and json in the same run: reading, polygons, exporting. Prints one JSON line.

    python benchmarks/coco.py [--small] [--images N]

A file of N images (100,000) with 9 polygons of 12 points each, in no order, as COCO has
them. Every measurement is a process of its own, the two sides of a ratio take turns, and each ratio is that of the
medians. CPU seconds; peak memory is the process's largest resident set (Linux).

- `read_cpu_ratio` <= 2, `read_memory_ratio` <= 1: the source `coco`, every image with its masks, over `COCO(file)` and
  `annToRLE` of every annotation. `run_cpu_ratio`, `run_memory_ratio`: a whole run into a dataset, for comparison.
- `polygon_ratio` <= 1.2: `masks.from_polygons_batch` (600 at once, to masks cut to their crop) over `frPyObjects` and
  `merge` of each annotation, in one process. Both give the same pixels, which is checked.
- `export_coco_ratio`, `export_jsonl_ratio` <= 8: the exporters, from a dataset on disk to a file, over `json.dumps` of
  the same rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IMAGES, SMALL = 100_000, 2_000
PER_IMAGE, POINTS, LABELS = 9, 12, 80
WIDTH, HEIGHT = 640, 480
REPEATS = 3
BATCH = 600
POLYGONS = 9_000


def polygons(number: int, seed: int = 0) -> np.ndarray:
    """(number, 2 * POINTS) x, y, ... of star-shaped outlines, radii log-uniform from 8 to 100 pixels, two decimals."""
    rng = np.random.default_rng(seed)
    radius = np.exp(rng.uniform(np.log(8), np.log(100), (number, 1))) * rng.uniform(0.6, 1.2, (number, POINTS))
    angle = np.sort(rng.uniform(0, 2 * np.pi, (number, POINTS)), axis=1)
    margin = 120  # the largest radius, so that nothing is cut off
    x = rng.uniform(margin, WIDTH - margin, (number, 1)) + radius * np.cos(angle)
    y = rng.uniform(margin, HEIGHT - margin, (number, 1)) + radius * np.sin(angle)
    return np.stack([x, y], axis=2).reshape(number, -1).round(2)


def write_file(path: Path, images: int) -> None:
    """A COCO instances file; annotations in random order."""
    outlines = polygons(images * PER_IMAGE)
    with path.open("w") as stream:
        rows = [
            {"id": n, "file_name": f"{n:012d}.jpg", "width": WIDTH, "height": HEIGHT, "license": 1}
            for n in range(1, images + 1)
        ]
        stream.write(f'{{"info": {{}}, "images": {json.dumps(rows)}, "annotations": [')
        for number, index in enumerate(np.random.default_rng(1).permutation(len(outlines)).tolist()):
            stream.write((", " if number else "") + json.dumps(annotation(outlines[index], index, number + 1)))
        names = [{"id": n, "name": f"class {n}", "supercategory": "thing"} for n in range(1, LABELS + 1)]
        stream.write(f'], "categories": {json.dumps(names)}}}')


def annotation(outline: np.ndarray, index: int, number: int) -> dict[str, Any]:
    """One row, of the image that the index of its outline names."""
    x, y = outline[0::2], outline[1::2]
    box = [float(x.min()), float(y.min()), round(float(np.ptp(x)), 2), round(float(np.ptp(y)), 2)]
    return {
        "segmentation": [outline.tolist()],
        "area": round(box[2] * box[3] / 2, 2),
        "iscrowd": 0,
        "image_id": index // PER_IMAGE + 1,
        "bbox": box,
        "category_id": index % LABELS + 1,
        "id": number,
    }


def read_ours(folder: Path) -> int:
    from sgforge import Roots
    from sgforge_formats.coco.source import CocoSource
    from sgforge_formats.config import CocoOptions

    source = CocoSource(CocoOptions(str(folder / "instances.json")))
    return sum(len(sample.graph.all.regions) for sample in source.samples(Roots(), "bench"))


def read_peer(folder: Path) -> int:
    from pycocotools.coco import COCO

    coco = COCO(str(folder / "instances.json"))
    return len([coco.annToRLE(row) for row in coco.dataset["annotations"]])


def run_ours(folder: Path) -> int:
    import sgforge as sg

    with tempfile.TemporaryDirectory() as made:
        source = sg.source("coco", annotations=str(folder / "instances.json"))
        report = sg.Pipeline(sg.segment("regions")).run(source, Path(made) / "dataset", progress=False)
    return PER_IMAGE * report.step("source").counts.computed


def export_ours(folder: Path, name: str) -> None:
    from sgforge.dataset import Dataset
    from sgforge.plugins import load_plugins

    snapshot = Dataset.open(folder / "dataset").snapshot
    exporter = load_plugins().lookup("exporter", name)
    exporter.build(exporter.config() if exporter.config else None).export(snapshot, folder / f"out.{name}")


def dump_peer(folder: Path, name: str) -> None:
    text = (folder / f"out.{name}").read_text()
    rows = json.loads(text) if name == "coco" else [json.loads(line) for line in text.splitlines()]
    clock(lambda: json.dumps(rows))


SPENT: list[float] = []


def clock(work: Callable[[], object]) -> object:
    """Measure only this of a process."""
    start = time.process_time()
    result = work()
    SPENT.append(time.process_time() - start)
    return result


WORKS: dict[str, Callable[[Path], object]] = {
    "read_ours": read_ours,
    "read_peer": read_peer,
    "run_ours": run_ours,
    "export_coco_ours": lambda folder: export_ours(folder, "coco"),
    "export_coco_peer": lambda folder: dump_peer(folder, "coco"),
    "export_jsonl_ours": lambda folder: export_ours(folder, "jsonl"),
    "export_jsonl_peer": lambda folder: dump_peer(folder, "jsonl"),
}


def measure(work: str, folder: Path) -> tuple[float, float, Any]:
    """(CPU seconds, peak megabytes, result) of a work in a process of its own."""
    command = [sys.executable, __file__, "--work", work, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    cpu, peak, result = json.loads(done.stdout.splitlines()[-1])
    return cpu, peak, result


def do(work: str, folder: Path) -> None:
    start = time.process_time()
    result = WORKS[work](folder)
    spent = SPENT[0] if SPENT else time.process_time() - start
    print(json.dumps([spent, peak_mb(), result]))


def peak_mb() -> float:
    """Megabytes; not ru_maxrss, which begins at what the process that started this one held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def polygon_ratio() -> float:
    """Our time over pycocotools', both from the lists of a file."""
    from pycocotools import mask as coco

    from sgforge import masks

    rows = [[outline] for outline in polygons(POLYGONS, 2).tolist()]
    size = (HEIGHT, WIDTH)
    ours, peer = [], []
    for _ in range(REPEATS):
        start = time.process_time()
        made = [
            mask
            for first in range(0, len(rows), BATCH)
            for mask in masks.from_polygons_batch(
                rows[first : first + BATCH], [size] * len(rows[first : first + BATCH])
            )
        ]
        middle = time.process_time()
        expected = [coco.merge(coco.frPyObjects(row, *size))["counts"] for row in rows]
        ours.append(middle - start)
        peer.append(time.process_time() - middle)
    if masks.to_coco_batch(made) != expected:
        raise AssertionError("polygons differ from pycocotools")
    return statistics.median(ours) / statistics.median(peer)


def compare(names: list[str], folder: Path) -> dict[str, tuple[float, float]]:
    """Medians of (CPU seconds, peak megabytes), the works taking turns."""
    found: dict[str, list[tuple[float, float, Any]]] = {name: [] for name in names}
    for _ in range(REPEATS):
        for name in names:
            found[name].append(measure(name, folder))
    results = {result for rows in found.values() for _, _, result in rows}
    if len(results) != 1:
        raise AssertionError(f"the sides read different numbers of annotations: {results}")
    return {
        name: (statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows))
        for name, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help=f"{SMALL} images")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        do(given.work, given.folder)
        return
    images = SMALL if given.small else given.images
    with tempfile.TemporaryDirectory(prefix="sgforge-bench-") as made:
        print(json.dumps(report(Path(made), images)))


def report(folder: Path, images: int) -> dict[str, Any]:
    import sgforge as sg

    write_file(folder / "instances.json", images)
    reading = compare(["read_ours", "read_peer", "run_ours"], folder)
    source = sg.source("coco", annotations=str(folder / "instances.json"))
    sg.Pipeline(sg.segment("regions")).run(source, folder / "dataset", progress=False)
    ratios = {}
    for name in ("coco", "jsonl"):
        measure(f"export_{name}_ours", folder)  # the file whose rows the peer dumps
        found = compare([f"export_{name}_ours", f"export_{name}_peer"], folder)
        ratios[f"export_{name}_ratio"] = round(found[f"export_{name}_ours"][0] / found[f"export_{name}_peer"][0], 2)
    ours, peer, run = (reading[name] for name in ("read_ours", "read_peer", "run_ours"))
    return {
        "benchmark": "coco",
        "images": images,
        "annotations": images * PER_IMAGE,
        "file_mb": round((folder / "instances.json").stat().st_size / 1e6, 1),
        "read_cpu_ratio": round(ours[0] / peer[0], 2),
        "read_memory_ratio": round(ours[1] / peer[1], 2),
        "run_cpu_ratio": round(run[0] / peer[0], 2),
        "run_memory_ratio": round(run[1] / peer[1], 2),
        "polygon_ratio": round(polygon_ratio(), 2),
        **ratios,
        "seconds": {name: round(found[0], 2) for name, found in reading.items()},
        "peak_mb": {name: round(found[1]) for name, found in reading.items()},
    }


if __name__ == "__main__":
    main()
