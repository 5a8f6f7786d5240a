"""What the tests of formats share: a COCO file as a dict, written with its images, and read back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.reading import Result, sort_out
from PIL import Image

from sgforge import Roots
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoOptions

WIDTH, HEIGHT = 40, 30
COCO: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        {"id": 8, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [2, 3, 10, 5.5], "area": 55.0, "iscrowd": 0},
        {
            "id": 2,
            "image_id": 7,
            "category_id": 90,
            "bbox": [5, 5, 20, 10],
            "area": 200,
            "iscrowd": 0,
            "segmentation": [[5, 5, 25, 5, 25, 15, 5, 15]],
        },
        {"id": 3, "image_id": 8, "category_id": 3, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0},
    ],
    "categories": [{"id": 3, "name": "dog"}, {"id": 90, "name": "toothbrush", "supercategory": "indoor"}],
}


@pytest.fixture
def coco() -> dict[str, Any]:
    """A small right COCO file, to be spoilt."""
    return copy.deepcopy(COCO)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The folder of its images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for shade, name in enumerate(("a.png", "b.png")):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 60 * shade, np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Result]:
    """Reads a COCO dict (or the text of a file) through the source."""

    def reader(content: Any, **options: str) -> Result:
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        source = CocoSource(CocoOptions("data:instances.json", **options))
        return sort_out(source.samples(Roots({"data": tmp_path}), "given"))

    return reader
