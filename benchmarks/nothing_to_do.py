"""A run with nothing to do against the first run: CPU seconds of both, for a JSONL and for a COCO source.

JSONL: images of 18 regions and 38 relations, as in Synthetic Visual Genome, without masks and pictures. COCO: images of
7 outlined regions, each with a picture of its own. Both go through a filter. Every run is a process of its own; what it
takes to start counts. Bar: the second run costs at most 0.1 of the first, at 100,000 images.

    python benchmarks/nothing_to_do.py            python benchmarks/nothing_to_do.py --small
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from memory import measured_run, write_graphs

_STEP = '\n[[step]]\nfilter = "spatial-rules"\n'
_WIDTH, _HEIGHT, _REGIONS, _CORNERS = 640, 480, 7, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="5,000 images instead of 100,000")
    images = 5_000 if parser.parse_args().small else 100_000
    figures: dict[str, object] = {"images": images, "bar": 0.1}
    sources: dict[str, Callable[[Path, int], str]] = {"jsonl": _jsonl, "coco": _coco}
    for name, write in sources.items():
        with tempfile.TemporaryDirectory() as folder:
            first, second = _runs(Path(folder), write(Path(folder), images))
        figures[f"{name}_cpu_s"] = [round(first, 2), round(second, 2)]
        figures[f"{name}_ratio"] = round(second / first, 3)
    print(json.dumps({"benchmark": "nothing_to_do", **figures}))


def _runs(folder: Path, source: str) -> tuple[float, float]:
    config = folder / "config.toml"
    config.write_text(f'dataset = "{folder / "dataset"}"\n\n[source]\n{source}\n{_STEP}')
    first, _ = measured_run(config)
    second, _ = measured_run(config)
    return first, second


def _jsonl(folder: Path, images: int) -> str:
    write_graphs(folder / "graphs.jsonl", images)
    return f'use = "jsonl"\ngraphs = "{folder / "graphs.jsonl"}"'


def _coco(folder: Path, images: int) -> str:
    rng = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir()
    annotations = []
    for image in range(images):
        (pictures / f"{image:07}.png").write_bytes(_picture(image))
        # Corners on a circle, by their angle: an outline that does not cross itself.
        angles = np.sort(rng.random((_REGIONS, _CORNERS)) * 2 * np.pi, axis=1)
        radius, middle = rng.integers(20, 100, (_REGIONS, 1)), rng.integers(100, 380, (_REGIONS, 2, 1))
        outlines = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, :, None] + middle
        for number, outline in enumerate(outlines.transpose(0, 2, 1).round(2)):
            (x0, y0), (x1, y1) = outline.min(axis=0), outline.max(axis=0)
            annotations.append(
                {
                    "id": image * _REGIONS + number,
                    "image_id": image,
                    "category_id": number,
                    "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                    "segmentation": [outline.reshape(-1).tolist()],
                    "iscrowd": 0,
                    "area": 1.0,
                }
            )
    document = {
        "images": [
            {"id": image, "file_name": f"{image:07}.png", "width": _WIDTH, "height": _HEIGHT} for image in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": f"thing {number}"} for number in range(_REGIONS)],
    }
    (folder / "instances.json").write_text(json.dumps(document))
    return f'use = "coco"\nannotations = "{folder / "instances.json"}"\nimages = "{pictures}"'


def _picture(number: int) -> bytes:
    """A black PNG of one bit a pixel; its comment makes it a file like no other."""
    rows = zlib.compress(bytes((_WIDTH // 8 + 1) * _HEIGHT), 9)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 1, 0, 0, 0, 0)),
        (b"tEXt", b"Comment\0%d" % number),
        (b"IDAT", rows),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


if __name__ == "__main__":
    main()
