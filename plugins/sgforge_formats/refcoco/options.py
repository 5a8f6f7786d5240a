"""Options of RefCOCO's source."""

from __future__ import annotations

import attrs

from sgforge_formats.config import Orientation

__all__ = ["RefcocoOptions"]


@attrs.frozen
class RefcocoOptions:
    """RefCOCO, RefCOCO+ or RefCOCOg.

    `refs`: the pickle of references, such as refs(unc).p, read without running what it names. `instances`: the
    instances.json beside it, COCO's objects. `images`: the folder of COCO's pictures (train2014). `split`: instead of
    the references' own (train, val, test, testA, testB). `orientation`: as for `coco`.
    """

    refs: str
    instances: str
    images: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"
