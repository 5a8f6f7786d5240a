"""Pixels for the tower: an image made square, scaled to CLIP's statistics."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["image_tensor"]

_MEAN: Final = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD: Final = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_BORDER: Final = (122, 116, 104)
"""The mean of CLIP's pixels, as bytes."""


def image_tensor(pixels: NDArray[np.uint8], side: int = 512, aspect: Literal["stretch", "pad"] = "stretch") -> Tensor:
    """(h, w, 3) uint8 RGB to (3, side, side) float32, scaled to the mean and deviation of CLIP's training.

    "stretch" resizes each way by its own factor; "pad" first centres the image on a square of CLIP's mean colour.
    Bicubic, antialiased, in bytes, as Pillow does it.
    """
    image = Image.fromarray(pixels)
    if aspect == "pad" and image.width != image.height:
        longer = max(image.size)
        square = Image.new("RGB", (longer, longer), _BORDER)
        square.paste(image, ((longer - image.width) // 2, (longer - image.height) // 2))
        image = square
    resized = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    scaled = ((resized / 255).astype(np.float32) - _MEAN) / _STD
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))
