"""Options of PSG's source and exporter."""

from __future__ import annotations

import attrs

from sgforge_formats.config import Orientation

__all__ = ["PsgExportOptions", "PsgOptions"]


@attrs.frozen
class PsgOptions:
    """PSG's psg.json; plain or .json.gz.

    `annotations`: the file. `images`: the folder that its file names are relative to (COCO's, with train2017 and
    val2017). `panoptic`: the folder of the id PNGs, for masks (with panoptic_train2017 and panoptic_val2017); without
    it regions have boxes alone. `split`: instead of test_image_ids of the file. `orientation`: as for `coco`.
    """

    annotations: str
    images: str | None = None
    panoptic: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class PsgExportOptions:
    """PSG's psg.json with the id PNGs beside it.

    `classes`: a psg.json (or a file with its lists) whose class lists are used; regions and relations of other names
    are left out and counted. Without it classes are the labels of the dataset, in sorted order, and those whose regions
    were read as stuff are stuff.
    """

    classes: str | None = None
