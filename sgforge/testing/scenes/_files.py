"""Scenes as files: PNG images and graph JSONL."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from sgforge.graph import Sample
from sgforge.jsonl import dump_sample, parse_line
from sgforge.testing.scenes._scene import make_scene

__all__ = ["scene_samples", "write_scenes"]

_TRUTHS: Final = ".scenes"
_DIGEST: Final = hashlib.sha256().digest_size


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

    Only what is not there is drawn: the true graph of each picture stands in the folder `.scenes` beside them, with the
    sha256 of the picture it belongs to. A picture that holds the right bytes is left untouched, its time of change too.
    """
    place = Path(folder)
    (place / _TRUTHS).mkdir(parents=True, exist_ok=True)
    for number in range(seed, seed + count):
        kept = _Kept(place, number, _recipe(size, pixel_relations))
        sample = kept.load()
        if sample is None:
            scene = make_scene(number, size, pixel_relations)
            picture = _png(scene.image)
            _write_if_other(kept.picture, picture)
            sample = scene.sample
            kept.save(sample, picture)
        yield attrs.evolve(sample, uri=uri + kept.picture.name)


def _recipe(size: int, pixel_relations: bool) -> bytes:
    """What else than its seed makes a scene: a digest of these, and of the code that draws."""
    return hashlib.sha256(f"{_code()} {size} {pixel_relations}".encode()).digest()


@functools.cache
def _code() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


class _Kept:
    """One scene as it lies in a folder: its picture, and its truth behind a digest of all that belongs to it."""

    def __init__(self, folder: Path, number: int, recipe: bytes) -> None:
        name = f"scene-{number:06d}"
        self.picture = folder / f"{name}.png"
        self._truth = folder / _TRUTHS / name
        self._recipe = recipe + name.encode()

    def load(self) -> Sample | None:
        """Its sample, if picture and truth are there and belong together."""
        try:
            picture, kept = self.picture.read_bytes(), self._truth.read_bytes()
        except OSError:
            return None
        digest, line = kept[:_DIGEST], kept[_DIGEST:]
        return parse_line(line, str(self._truth)) if digest == self._digest(picture, line) else None

    def save(self, sample: Sample, picture: bytes) -> None:
        """Keep the truth of a picture that has been written; one that is cut short is found by its digest."""
        line = dump_sample(sample)
        self._truth.write_bytes(self._digest(picture, line) + line)

    def _digest(self, picture: bytes, line: bytes) -> bytes:
        return hashlib.sha256(self._recipe + hashlib.sha256(picture).digest() + line).digest()


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _write_if_other(path: Path, data: bytes) -> None:
    if not (path.is_file() and path.read_bytes() == data):
        path.write_bytes(data)
