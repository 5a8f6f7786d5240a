"""Scenes as files: PNG images and graph JSONL."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from sgforge.graph import Sample
from sgforge.testing.scenes._scene import make_scene

__all__ = ["scene_samples", "write_scenes"]


def write_scenes(
    folder: Path | str,
    count: int,
    seed: int = 0,
    *,
    size: int = 256,
    root: str = "scenes",
    pixel_relations: bool = False,
) -> Path:
    """Write `count` scenes from `seed` on: PNG images in `folder` and their graphs in graphs.jsonl there.

    The uris name the images within the root `root`. Returns the path of graphs.jsonl.
    """
    from sgforge.jsonl import write_jsonl

    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / "graphs.jsonl"
    write_jsonl(scene_samples(folder, count, seed, size=size, uri=f"{root}:", pixel_relations=pixel_relations), path)
    return path


def scene_samples(
    folder: Path | str, count: int, seed: int, *, size: int, uri: str, pixel_relations: bool = False
) -> Iterator[Sample]:
    """The samples of `count` scenes from `seed` on, each image written to `folder` first; `uri` is that folder's.

    A file that holds the right bytes is left untouched, its time of change too.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for number in range(seed, seed + count):
        scene = make_scene(number, size, pixel_relations)
        name = f"{scene.sample.image_id}.png"
        _write_if_other(place / name, _png(scene.image))
        yield attrs.evolve(scene.sample, uri=uri + name)


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _write_if_other(path: Path, data: bytes) -> None:
    if not (path.is_file() and path.read_bytes() == data):
        path.write_bytes(data)
