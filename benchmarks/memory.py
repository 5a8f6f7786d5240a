"""What each further image takes of a run from JSONL: bytes of peak memory and CPU time, between two sizes.

`graphs`: images of 18 regions and 38 relations, as in Synthetic Visual Genome, without masks and pictures, go through a
filter; `source`: the same are read and published, and no step works on them; `bare`: images without a picture and
without a graph are. Each size is a process of its own. Bars: 8 kB for `graphs`, 0.5 ms for `source`, 1.5 kB and 150 us
for `bare`.

    python benchmarks/memory.py            python benchmarks/memory.py --small
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_REGIONS, _RELATIONS = 18, 38
_CONFIG = """\
dataset = "{folder}"

[source]
use = "jsonl"
graphs = "{graphs}"
"""
_STEP = '\n[[step]]\nfilter = "spatial-rules"\n'
_IDLE = _STEP + 'on = {split = "none"}\n'


class Case(NamedTuple):
    """What is run: what writes the images, the step behind the source, and the bars in bytes and ms an image."""

    write: Callable[[Path, int], None]
    step: str
    bar_bytes: int | None = None
    bar_ms: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="2,000 and 6,000 images instead of 20,000 and 60,000")
    sizes = (2_000, 6_000) if parser.parse_args().small else (20_000, 60_000)
    cases = {
        "graphs": Case(write_graphs, _STEP, bar_bytes=8_000),
        "source": Case(write_graphs, _IDLE, bar_ms=0.5),
        "bare": Case(_write_bare, _IDLE, bar_bytes=1_500, bar_ms=0.15),
    }
    print(json.dumps({"benchmark": "memory", "images": sizes} | {name: _more(cases[name], sizes) for name in cases}))


def _more(case: Case, sizes: Sequence[int]) -> dict[str, float | None]:
    with tempfile.TemporaryDirectory() as name:
        (first_cpu, first_peak), (cpu, peak) = (_run(case, Path(name), images) for images in sizes)
    more = sizes[1] - sizes[0]
    return {
        "peak_mb": round(peak / 1e6),
        "bytes_an_image": round((peak - first_peak) / more),
        "bar_bytes": case.bar_bytes,
        "cpu_ms_an_image": round((cpu - first_cpu) / more * 1e3, 3),
        "bar_ms": case.bar_ms,
    }


def _run(case: Case, folder: Path, images: int) -> tuple[float, float]:
    """CPU seconds and peak bytes of a run over so many images."""
    graphs, config = folder / f"{images}.jsonl", folder / f"{images}.toml"
    case.write(graphs, images)
    config.write_text(_CONFIG.format(graphs=graphs, folder=folder / f"dataset-{images}") + case.step)
    return measured_run(config)


def _write_bare(path: Path, images: int) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for image in range(images):
            stream.write(f'{{"image_id": "{image:07}", "width": 0, "height": 0, "regions": []}}\n')


def measured_run(config: Path) -> tuple[float, float]:
    """CPU seconds and peak bytes of a run of a config, in a process of its own."""
    command = [sys.executable, "-m", "sgforge", "run", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, said
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0


def write_graphs(path: Path, images: int) -> None:
    """Graph JSONL of so many images of 18 regions and 38 relations."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as stream:
        for image in range(images):
            corner = rng.random((_REGIONS, 2)) * 400
            boxes = np.concatenate([corner, corner + rng.random((_REGIONS, 2)) * 200 + 10], axis=1).round(2)
            labels = rng.integers(0, 5_000, _REGIONS).tolist()
            subjects = rng.integers(0, _REGIONS, _RELATIONS)
            objects = (subjects + rng.integers(1, _REGIONS, _RELATIONS)) % _REGIONS
            predicates = rng.integers(0, 2_000, _RELATIONS).tolist()
            regions = [
                {"label": f"label {label}", "box": box} for label, box in zip(labels, boxes.tolist(), strict=True)
            ]
            relations = [
                {"subject": s, "predicate": f"predicate {p}", "object": o, "score": 0.5}
                for s, p, o in zip(subjects.tolist(), predicates, objects.tolist(), strict=True)
            ]
            line = {"image_id": f"{image:07}", "width": 640, "height": 640, "regions": regions, "relations": relations}
            stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
