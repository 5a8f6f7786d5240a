"""Options of Label Studio's source."""

from __future__ import annotations

import attrs

from sgforge_formats.config import Orientation

__all__ = ["LabelStudioOptions"]


@attrs.frozen
class LabelStudioOptions:
    """Label Studio's export as JSON (not JSON-MIN); plain or packed by gzip.

    `annotations`: the file. `images`: the folder of pictures, found by the end of the task's address. `data_field`: the
    name of the picture in a task's `data`. `split`, `orientation`: as for `coco`.
    """

    annotations: str
    images: str | None = None
    data_field: str = "image"
    split: str | None = None
    orientation: Orientation = "stored"
