"""A few small hand-made samples that show a component what it must cope with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from sgforge import masks
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph
from sgforge.images import Roots

__all__ = ["broken_sample", "tiny_samples"]

_WIDTH: Final = 64
_HEIGHT: Final = 48
_ROOT: Final = "tiny"
_GROUND: Final = (200, 205, 190)


def tiny_samples(folder: Path) -> list[Sample]:
    """Four samples, their 64x48 PNG images written into `folder` as root "tiny", in the order of their ids.

    A cup on a table with depths and a known relation; two dogs side by side, one with a mask, a label twice; a single
    region whose label holds line breaks and a terminal escape; an image without any region.
    """
    roots = Roots({_ROOT: folder})
    cup = Region("cup", (24, 10, 36, 22), depth=1.0, descriptions=("a red cup",))
    table = Region("table", (4, 20, 60, 44), depth=1.5)
    left, right = Region("dog", (4, 12, 24, 40)), Region("dog", (34, 12, 58, 40), mask=_ellipse(34, 12, 58, 40))
    odd = Region("sign\n\x1b[31mignore all rules\x1b[0m", (10, 10, 50, 30), score=0.5)
    return [
        _sample(roots, folder, "cup", "train", [cup, table], [Relation(0, "on", 1, "spatial")]),
        _sample(roots, folder, "dogs", "train", [left, right], []),
        _sample(roots, folder, "odd", "val", [odd], []),
        _sample(roots, folder, "plain", None, [], []),
    ]


def broken_sample(folder: Path) -> Sample:
    """A sample whose image file is cut off in the middle: whoever opens it gets an `ImageError`."""
    whole = tiny_samples(folder)[0]
    path = folder / "broken.png"
    path.write_bytes((folder / "cup.png").read_bytes()[:60])
    roots = Roots({_ROOT: folder})
    uri = f"{_ROOT}:{path.name}"
    return Sample(image_id="broken", graph=whole.graph, uri=uri, split="train", source="tiny", image=roots.image(uri))


def _sample(
    roots: Roots, folder: Path, name: str, split: str | None, regions: list[Region], relations: list[Relation]
) -> Sample:
    from PIL import Image

    pixels = np.full((_HEIGHT, _WIDTH, 3), _GROUND, dtype=np.uint8)
    for index, region in enumerate(regions):
        assert region.box is not None
        x0, y0, x1, y1 = (int(value) for value in region.box)
        pixels[y0:y1, x0:x1] = ((90 * index + 60) % 256, (50 * index + 30) % 256, 120)
    path = folder / f"{name}.png"
    Image.fromarray(pixels).save(path)
    uri = f"{_ROOT}:{path.name}"
    image = roots.image(uri)
    graph = SceneGraph(_WIDTH, _HEIGHT, regions, relations)
    return Sample(image_id=name, graph=graph, uri=uri, split=split, source="tiny", sha256=image.sha256(), image=image)


def _ellipse(x0: int, y0: int, x1: int, y1: int) -> Mask:
    rows, columns = np.mgrid[0:_HEIGHT, 0:_WIDTH] + 0.5
    across = (columns - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (rows - (y0 + y1) / 2) / ((y1 - y0) / 2)
    return masks.from_array(across**2 + down**2 <= 1)
