"""Options of the sources and exporters; folders and files are "root:relative/path" or plain paths."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = [
    "CocoExportOptions",
    "CocoOptions",
    "FolderOptions",
    "JsonlOptions",
    "ScenesOptions",
]


@attrs.frozen
class CocoOptions:
    """COCO instances or panoptic JSON (told apart by its content), and LVIS.

    `annotations`: the JSON file. `images`: the folder of the images; without it the samples have graphs but no pixels.
    `panoptic`: the folder of the id PNGs, for panoptic JSON (usual: named as the JSON file, without .json).
    `split`: the split all images belong to, such as train or val; without it sgforge holds some out by their hash.
    """

    annotations: str
    images: str | None = None
    panoptic: str | None = None
    split: str | None = None


@attrs.frozen
class FolderOptions:
    """All images in a folder and its subfolders; an image's id is its path in the folder.

    `images`: the folder. `graphs`: a graph JSONL file with what is known of some of them, by that id.
    `split`: the split all images belong to.
    """

    images: str
    graphs: str | None = None
    split: str | None = None


@attrs.frozen
class JsonlOptions:
    """A graph JSONL file.

    `graphs`: the file. `images`: the folder that stands for whatever root the uris of the file name; without it those
    roots must be known to the run. `split`: the split of the images whose line names none.
    """

    graphs: str
    images: str | None = None
    split: str | None = None


@attrs.frozen
class ScenesOptions:
    """Procedural scenes with exact graphs (`sgforge.testing.scenes`).

    `folder`: where the PNG files are written. `count`: how many. `seed`: of the first one; scene n has seed + n.
    `size`: width and height in pixels, from 64. `graphs`: what is given with the images: the "full" true graphs, their
    "regions" alone, or "none". `split`: their split.
    """

    folder: str
    count: int = 200
    seed: int = 0
    size: int = 256
    graphs: Literal["full", "regions", "none"] = "full"
    split: str | None = None


@attrs.frozen
class CocoExportOptions:
    """COCO instances JSON.

    `categories`: a JSON file whose categories are used with their ids (a COCO file, or a list of categories); regions
    with other labels are left out and counted. Without it the labels in use are numbered from 1 in sorted order.
    """

    categories: str | None = None
