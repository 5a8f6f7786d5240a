"""Sources of scene-graph data sets against json.load and plain objects in the same run. Prints one JSON line.

    python benchmarks/formats.py [--small] [--images N]

A file as Visual Genome's scene_graphs.json, N images (100,000) of 35 objects and 21 relationships, its mean size. Each
measurement is a process of its own, the sides take turns, and a ratio is that of the medians. CPU seconds; peak memory
is the process's largest resident set (Linux).

- `vg_peak_mb` <= 1500: the source `vg` over the whole file, into the columns of all images, as an import takes them.
  `vg_speedup` >= 3: `json.load` of it and one Python object for each image, object and relationship, over the source,
  which checks every box, name and relation, and these columns.
- `ms_per_image` <= 2: of each source, over images of that size in its own layout, into columns too; median of five
  reads. `loop_seconds`: of a pure-Python loop of 2,000,000 `s += i * i` between them, 0.14 where the bar was set.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

IMAGES, SMALL = 100_000, 2_000
PER_FORMAT = 300
OBJECTS, RELATIONS, NAMES, PREDICATES = 35, 21, 2_000, 300
REPEATS = 3
READS = 5


def image(number: int, rng: random.Random) -> dict[str, Any]:
    """One image as scene_graphs.json has it."""
    first = number * 100
    objects = [
        {"object_id": first + at, "x": rng.randrange(400), "y": rng.randrange(300), "w": rng.randrange(1, 200)}
        | {"h": rng.randrange(1, 200), "names": [f"thing {rng.randrange(NAMES)}"], "synsets": ["thing.n.01"]}
        | ({"attributes": ["red"]} if at % 2 else {})
        for at in range(OBJECTS)
    ]
    relations = [
        {"relationship_id": first + at, "predicate": f"predicate {rng.randrange(PREDICATES)}", "synsets": ["on.r.01"]}
        | {"subject_id": first + at, "object_id": first + (at + 3) % OBJECTS}
        for at in range(RELATIONS)
    ]
    return {"image_id": number + 1, "objects": objects, "relationships": relations}


def write_file(path: Path, images: int) -> None:
    """The list of images, on one line."""
    rng = random.Random(0)
    with path.open("w") as stream:
        for number in range(images):
            stream.write((", " if number else "[") + json.dumps(image(number, rng)))
        stream.write("]")


def read(name: str, options: dict[str, Any]) -> int:
    """How many regions a source gives, as columns."""
    from sgforge import Roots, Sample
    from sgforge.columns import GraphColumns
    from sgforge.plugins import load_plugins

    component = load_plugins().lookup("source", name)
    source = component.build(component.config(**options))
    samples = (one for one in source.samples(Roots(), "bench") if isinstance(one, Sample))
    return len(GraphColumns.from_samples(samples).region.label)


@attrs.define
class Thing:
    """An object as a plain loader keeps it."""

    number: int
    x: int
    y: int
    width: int
    height: int
    names: list[str]
    synsets: list[str]
    attributes: list[str]


@attrs.define
class Link:
    """A relationship as a plain loader keeps it."""

    number: int
    subject: Thing
    predicate: str
    object: Thing
    synsets: list[str]


@attrs.define
class Graph:
    """An image as a plain loader keeps it."""

    number: int
    objects: list[Thing]
    links: list[Link]


def graph_of(row: dict[str, Any]) -> Graph:
    things = {
        one["object_id"]: Thing(
            one["object_id"],
            one["x"],
            one["y"],
            one["w"],
            one["h"],
            one["names"],
            one["synsets"],
            one.get("attributes", []),
        )
        for one in row["objects"]
    }
    links = []
    for one in row["relationships"]:
        ends = things[one["subject_id"]], things[one["object_id"]]
        links.append(Link(one["relationship_id"], ends[0], one["predicate"], ends[1], one["synsets"]))
    return Graph(row["image_id"], list(things.values()), links)


def read_peer(folder: Path) -> int:
    with (folder / "scene_graphs.json").open() as stream:
        graphs = [graph_of(row) for row in json.load(stream)]
    return sum(len(graph.objects) for graph in graphs)


WORKS: dict[str, Callable[[Path], int]] = {
    "ours": lambda folder: read("vg", {"scene_graphs": str(folder / "scene_graphs.json")}),
    "peer": read_peer,
}


def measure(work: str, folder: Path) -> tuple[float, float, int]:
    """(CPU seconds, peak megabytes, regions) of a work in a process of its own."""
    command = [sys.executable, __file__, "--work", work, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    cpu, peak, found = json.loads(done.stdout.splitlines()[-1])
    return cpu, peak, found


def do(work: str, folder: Path) -> None:
    start = time.process_time()
    found = WORKS[work](folder)
    spent = time.process_time() - start
    status = Path("/proc/self/status").read_text()
    print(json.dumps([spent, int(status.partition("VmHWM:")[2].split()[0]) / 1000, found]))


def per_format(folder: Path) -> dict[str, list[float]]:
    """Milliseconds of CPU an image, and seconds of the loop, by source, each over what its exporter wrote."""
    import sgforge as sg
    from sgforge.dataset import Dataset
    from sgforge.plugins import load_plugins

    write_file(folder / "few.json", PER_FORMAT)
    facts = [{"image_id": number, "width": 640, "height": 480} for number in range(1, PER_FORMAT + 1)]
    (folder / "image_data.json").write_text(json.dumps(facts))
    vg = {"scene_graphs": str(folder / "few.json"), "image_data": str(folder / "image_data.json")}
    sg.Pipeline().run(sg.source("vg", **vg), folder / "dataset", progress=False)
    snapshot = Dataset.open(folder / "dataset").snapshot
    out = {"coco": "c.json", "jsonl": "g.jsonl", "r1-sgg": "r.jsonl", "llava-conversations": "l.json"}
    out |= {"robin-conversations": "b.json", "label-studio": "s.json", "psg": "psg", "vg150": "vg150", "hf": "hf"}
    out["open-images"] = "oi"
    for name, file in out.items():
        exporter = load_plugins().lookup("exporter", name)
        exporter.build(None if exporter.config is None else exporter.config()).export(snapshot, folder / file)
    by_id = {str(row["image_id"]): _gqa(row) for row in json.loads((folder / "few.json").read_text())}
    (folder / "gqa.json").write_text(json.dumps(by_id))
    options: dict[str, dict[str, Any]] = {
        "vg": vg,
        "gqa": {"annotations": "gqa.json"},
        "coco": {"annotations": "c.json"},
        "jsonl": {"graphs": "g.jsonl"},
        "r1-sgg": {"data": "r.jsonl"},
        "conversations": {"annotations": "l.json"},
        "label-studio": {"annotations": "s.json"},
        "psg": {"annotations": "psg/psg.json"},
        "vg150": {"annotations": "vg150/VG-SGG-with-attri.h5", "image_data": "image_data.json"}
        | {"dictionary": "vg150/VG-SGG-dicts-with-attri.json"},
        "hf": {"data": "hf"},
        "open-images": {"relationships": "oi/annotations-vrd.csv", "boxes": "oi/annotations-bbox.csv"},
    }
    found = {}
    for name, given in options.items():
        full = {key: str(folder / value) for key, value in given.items()}
        command = [sys.executable, __file__, "--source", name, "--options", json.dumps(full)]
        found[name] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def read_again(name: str, options: dict[str, Any]) -> list[float]:
    """Milliseconds of CPU an image and seconds of the loop, medians of some turns behind a read that imports."""
    gc.set_threshold(50_000)  # as a run has it: sgforge.engine.process.gc_pacing
    read(name, options)
    reads, loops = [], []
    for _ in range(READS):
        start = time.process_time()
        read(name, options)
        between = time.process_time()
        loop()
        reads.append(1000 * (between - start) / PER_FORMAT)
        loops.append(time.process_time() - between)
    return [round(statistics.median(reads), 2), round(statistics.median(loops), 3)]


def loop() -> int:
    """What tells how fast the machine is."""
    total = 0
    for number in range(2_000_000):
        total += number * number
    return total


def _gqa(row: dict[str, Any]) -> dict[str, Any]:
    objects: dict[str, Any] = {
        str(one["object_id"]): {key: one[key] for key in "xywh"} | {"name": one["names"][0], "relations": []}
        for one in row["objects"]
    }
    for one in row["relationships"]:
        said = {"name": one["predicate"], "object": str(one["object_id"])}
        objects[str(one["subject_id"])]["relations"].append(said)
    return {"width": 640, "height": 480, "objects": objects}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help=f"{SMALL} images")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--source", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.source:
        print(json.dumps(read_again(given.source, given.options)))
        return
    if given.work:
        do(given.work, given.folder)
        return
    images = SMALL if given.small else given.images
    with tempfile.TemporaryDirectory(prefix="sgforge-bench-") as made:
        print(json.dumps(report(Path(made), images)))


def report(folder: Path, images: int) -> dict[str, Any]:
    write_file(folder / "scene_graphs.json", images)
    rows: dict[str, list[tuple[float, float, int]]] = {work: [] for work in WORKS}
    for _ in range(REPEATS):
        for work in WORKS:
            rows[work].append(measure(work, folder))
    if {row[2] for found in rows.values() for row in found} != {images * OBJECTS}:
        raise AssertionError("the sides read different numbers of objects")
    cpu = {work: statistics.median(row[0] for row in found) for work, found in rows.items()}
    peak = {work: statistics.median(row[1] for row in found) for work, found in rows.items()}
    by_format = per_format(folder)
    return {
        "benchmark": "formats",
        "images": images,
        "file_mb": round((folder / "scene_graphs.json").stat().st_size / 1e6, 1),
        "vg_speedup": round(cpu["peer"] / cpu["ours"], 2),
        "vg_peak_mb": round(peak["ours"]),
        "peer_peak_mb": round(peak["peer"]),
        "ms_per_image": {name: spent for name, (spent, _) in by_format.items()},
        "loop_seconds": {name: spent for name, (_, spent) in by_format.items()},
        "seconds": {work: round(spent, 2) for work, spent in cpu.items()},
    }


if __name__ == "__main__":
    main()
