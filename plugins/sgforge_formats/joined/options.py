"""Options of the source `join`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = ["JoinOptions"]


@attrs.frozen
class JoinOptions:
    """Several annotation sets of the same images as one.

    `sets`: the sources, `{use = "coco", name = "coco", annotations = "..."}`; the first gives the pictures. `by`: what
    makes two images the same: "id", "file" (the number at the end of the file's name, or the name), or "coco" (the
    COCO id that Visual Genome and PSG say, else the number in the file's name). `need`: names of sets that must have an
    image, else it is left out; counted one after another. `iou`: regions of one label that overlap so far are one.
    """

    sets: tuple[Mapping[str, Any], ...] = ()
    by: Literal["id", "file", "coco"] = "id"
    need: tuple[str, ...] = ()
    iou: float = 0.5
