"""Options of the sources and exporters; folders and files are "root:relative/path" or plain paths."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

__all__ = [
    "CocoExportOptions",
    "CocoOptions",
    "FolderOptions",
    "JsonlOptions",
    "Orientation",
    "ScenesOptions",
]

Orientation: TypeAlias = Literal["stored", "apply"]


@attrs.frozen
class CocoOptions:
    """COCO instances, panoptic or captions JSON (told apart by its content), and LVIS; plain or .json.gz.

    `annotations`: the JSON file. `results`: a result list (a detector's rows of image_id, category_id, bbox or
    segmentation, score), read instead of the file's own annotations. `images`: the folder of the images; without it the
    samples have graphs but no pixels. `panoptic`: the folder of the id PNGs, for panoptic JSON (usual: named as the
    JSON file, without .json).
    `split`: the split all images belong to, such as train or val; without it sgforge holds some out by their hash.
    `orientation`: "stored" takes pictures as they are stored, "apply" turns them as their orientation tag says.
    `polygons`: "masks" makes masks of them, "keep" keeps their points too, in the column `formats.polygons`, for an
    export (some 150 bytes a region).
    """

    annotations: str
    images: str | None = None
    panoptic: str | None = None
    split: str | None = None
    results: str | None = None
    orientation: Orientation = "stored"
    polygons: Literal["masks", "keep"] = "masks"


@attrs.frozen
class FolderOptions:
    """All images in a folder and its subfolders; an image's id is its path in the folder.

    `images`: the folder. `graphs`: a graph JSONL file with what is known of some of them, by that id.
    `split`: the split all images belong to. `orientation`: "stored" takes pictures as they are stored, "apply" turns
    them as their orientation tag says.
    """

    images: str
    graphs: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class JsonlOptions:
    """A graph JSONL file.

    `graphs`: the file. `images`: the folder that stands for whatever root the uris of the file name; without it those
    roots must be known to the run. `split`: the split of the images whose line names none. `orientation`: "apply"
    turns pictures as their orientation tag says, "stored" only those that the file says were turned.
    """

    graphs: str
    images: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class ScenesOptions:
    """Procedural scenes with exact graphs (`sgforge.testing.scenes`).

    `folder`: where the PNG files are written. `count`: how many. `seed`: of the first one; scene n has seed + n.
    `size`: width and height in pixels, from 64. `graphs`: what is given with the images: the "full" true graphs, their
    "regions" alone, or "none". `split`: their split. `pixel_relations`: graphs also say which things have the same
    colour or pattern, and which are paler: what only the picture tells.
    """

    folder: str
    count: int = 200
    seed: int = 0
    size: int = 256
    graphs: Literal["full", "regions", "none"] = "full"
    split: str | None = None
    pixel_relations: bool = False


@attrs.frozen
class CocoExportOptions:
    """COCO instances JSON.

    `categories`: a JSON file whose categories are used with their ids (a COCO file, or a list of categories); regions
    with other labels are left out and counted. Without it categories keep the ids they were read with; labels that were
    never in a COCO file are numbered after them, in sorted order. `ids`: "given" writes image ids as they were read,
    "numbers" gives those that are no whole numbers free ones from 1 and keeps the id as sgforge_id, for readers that
    take no texts.
    """

    categories: str | None = None
    ids: Literal["given", "numbers"] = "given"
