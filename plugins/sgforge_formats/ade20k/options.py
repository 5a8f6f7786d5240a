"""Options of ADE20K's source."""

from __future__ import annotations

import attrs

from sgforge_formats.config import Orientation

__all__ = ["Ade20kOptions"]


@attrs.frozen
class Ade20kOptions:
    """ADE20K in full: a folder of pictures, each with a JSON file of its name beside it.

    `folder`: that folder, such as ADE20K_2021_17_01/images/ADE; its subfolders are read too. `part_relations`: a part
    also gets the relation `part of`. `split`: instead of the folder's (training, validation). `orientation`: as for
    `coco`.
    """

    folder: str
    part_relations: bool = True
    split: str | None = None
    orientation: Orientation = "stored"
