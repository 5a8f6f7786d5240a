"""Importing segment-anything where torchvision is missing or broken.

The package asks torchvision for four functions at import. Where that import fails, stand-ins of our own are put in its
place while segment-anything is imported, and taken away again: nobody else ever finds a torchvision that is not there.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

import torch
from PIL import Image

from sgforge.masks import selection

__all__ = ["import_segment_anything"]

_NAMES: Final = (
    "torchvision",
    "torchvision.ops",
    "torchvision.ops.boxes",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


def import_segment_anything() -> ModuleType:
    """The package `segment_anything`, complete and usable, with or without torchvision."""
    if "segment_anything" in sys.modules or _torchvision_works():
        return importlib.import_module("segment_anything")
    with _stand_ins():
        return importlib.import_module("segment_anything")


def _torchvision_works() -> bool:
    """Whether it can be imported; a wheel for another torch is found, but raises."""
    try:
        importlib.import_module("torchvision.transforms.functional")
        importlib.import_module("torchvision.ops.boxes")
    except Exception:
        return False
    return True


@contextmanager
def _stand_ins() -> Iterator[None]:
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchvision"}
    for name in before:
        del sys.modules[name]
    for name in _NAMES:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module
    _fill(sys.modules)
    try:
        yield
    finally:
        for name in _NAMES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _fill(modules: dict[str, Any]) -> None:
    boxes, functional = modules["torchvision.ops.boxes"], modules["torchvision.transforms.functional"]
    boxes.batched_nms, boxes.box_area = _batched_nms, _box_area
    functional.resize, functional.to_pil_image = _resize, Image.fromarray


def _batched_nms(boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Suppression within each category, by falling score."""
    kept = []
    for category in torch.unique(idxs):
        members = torch.nonzero(idxs == category)[:, 0]
        own = selection.nms(boxes[members].cpu().numpy(), scores[members].cpu().numpy(), iou_threshold)
        kept.append(members[torch.from_numpy(own)])
    if not kept:
        return torch.zeros(0, dtype=torch.int64)
    together = torch.cat(kept)
    return together[torch.sort(scores[together], descending=True, stable=True).indices]


def _box_area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Pillow's bilinear resizing to (height, width)."""
    return image.resize((int(size[1]), int(size[0])), Image.Resampling.BILINEAR)
