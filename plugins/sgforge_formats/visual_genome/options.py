"""Options of the sources and exporters of Visual Genome's family."""

from __future__ import annotations

import attrs

from sgforge_formats.config import Orientation

__all__ = ["GqaOptions", "Vg150ExportOptions", "Vg150Options", "VisualGenomeOptions"]


@attrs.frozen
class VisualGenomeOptions:
    """Visual Genome's JSON files, any of them together; plain or .json.gz.

    `scene_graphs`, `objects`, `attributes`, `relationships`, `region_descriptions`: what is read of each image; boxes
    of region descriptions become regions of their own, without a label. `image_data`: the sizes and addresses of the
    images; without it sizes are taken from the pictures. `images`: the folder of pictures, which may lie in it or in
    VG_100K and VG_100K_2. `split`, `orientation`: as for `coco`.
    """

    scene_graphs: str | None = None
    objects: str | None = None
    attributes: str | None = None
    relationships: str | None = None
    region_descriptions: str | None = None
    image_data: str | None = None
    images: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class GqaOptions:
    """Graphs by image id in one JSON object; plain or .json.gz, or one graph a line (.jsonl).

    `annotations`: the file. `images`: the folder of pictures, named ID.jpg. `split`, `orientation`: as for `coco`.
    """

    annotations: str
    images: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class Vg150Options:
    """VG150 in HDF5, as scene graph benchmarks use it.

    `annotations`: VG-SGG-with-attri.h5 (or one without attributes). `dictionary`: VG-SGG-dicts-with-attri.json, its
    names. `image_data`: Visual Genome's image_data.json, whose order the file follows. `images`: the folder of
    pictures. `validation`: so many of the first training images with relations are split val, 5,000 in the usual split.
    `split`: instead of the splits of the file. `orientation`: as for `coco`.
    """

    annotations: str
    dictionary: str
    image_data: str
    images: str | None = None
    validation: int = 5000
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class Vg150ExportOptions:
    """VG150 in HDF5.

    `dictionary`: a dictionary (VG-SGG-dicts-with-attri.json) whose numbers are used; rows of other names are left out
    and counted. Without it names are numbered by how often they occur.
    """

    dictionary: str | None = None
