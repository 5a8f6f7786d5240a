"""Options of Open Images' source and exporter."""

from __future__ import annotations

import attrs

from sgforge_formats.config import Orientation

__all__ = ["OpenImagesExportOptions", "OpenImagesOptions"]


@attrs.frozen
class OpenImagesOptions:
    """Open Images' CSV files, plain or packed by gzip; either or both of the first two.

    `relationships`: visual relationships (…-annotations-vrd.csv, or of challenge-2018/2019). `boxes`: boxes
    (…-annotations-bbox.csv). `classes`: the names of classes (MID,name), without a head line; `attributes`: those of
    attributes, if they stand in a file of their own; without a name the MID is the label. `images`: the folder of
    pictures, ID.jpg: boxes are shares of 1, and only pictures tell their pixels. Without it boxes stay shares of 1.
    `split`, `orientation`: as for `coco`.
    """

    relationships: str | None = None
    boxes: str | None = None
    classes: str | None = None
    attributes: str | None = None
    images: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class OpenImagesExportOptions:
    """Open Images' visual relationships in CSV.

    `classes`: the names of classes (MID,name) whose MIDs are written; names that are not in it are written as they are.
    """

    classes: str | None = None
