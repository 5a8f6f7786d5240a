"""How images lie in the square input of a model, and how its low-resolution logits lie in the image."""

from __future__ import annotations

from typing import Final, Literal

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate, pad

__all__ = ["CLIP_STYLE", "IMAGENET", "Frame", "Normal", "Pixels"]

Pixels = NDArray[np.uint8]


@attrs.frozen
class Normal:
    """Mean and standard deviation per channel, of values 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(..., 3, H, W) of 0..255 to normalised float32."""
        values = pixels.to(torch.float32)
        shape = (3, 1, 1)
        mean = torch.tensor(self.mean, device=values.device).view(shape)
        return (values - mean) / torch.tensor(self.std, device=values.device).view(shape)


IMAGENET: Final = Normal((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""SAM, SAM-HQ, SAM 2 and Semantic-SAM."""

CLIP_STYLE: Final = Normal((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""SAM 3: values from -1 to 1."""


@attrs.frozen
class Frame:
    """An image of `height` x `width` pixels in a square of `side`, of which it fills `inner` (height, width).

    `padded`: the longest side becomes `side` and the rest is zeros after normalisation (SAM); else the image is
    stretched to the square (SAM 2 and 3).
    """

    height: int
    width: int
    side: int
    inner: tuple[int, int]

    @classmethod
    def of(cls, pixels: Pixels, side: int, layout: Literal["padded", "stretched"]) -> Frame:
        """The frame of (H, W, 3) pixels."""
        height, width = pixels.shape[:2]
        if layout == "stretched":
            return cls(height, width, side, (side, side))
        scale = side / max(height, width)
        # A very narrow image would else vanish: it keeps one pixel.
        return cls(height, width, side, (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))))

    def fitted(self, pixels: Pixels, normal: Normal) -> torch.Tensor:
        """(3, side, side) float32: resized bilinearly (Pillow's, with support), normalised, padded with zeros."""
        height, width = self.inner
        small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        values = normal(torch.from_numpy(np.array(small)).permute(2, 0, 1))
        return pad(values, (0, self.side - width, 0, self.side - height))

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (..., 2) x, y of the image in the square."""
        scale = np.array([self.inner[1] / self.width, self.inner[0] / self.height])
        moved: NDArray[np.float64] = points * scale
        return moved

    def enlarge(self, logits: torch.Tensor) -> torch.Tensor:
        """(N, h, w) logits of the square to (N, height, width), bilinear, as the model's own post-processing does."""
        if not len(logits):
            return logits.new_zeros((0, self.height, self.width))
        # In threes, as the reference hands them over: for 3 channels torch rounds otherwise than for any other number.
        low = torch.cat([logits, logits[:1].expand(-len(logits) % 3, -1, -1)]).unflatten(0, (-1, 3))
        if self.inner != (self.side, self.side):
            low = self._inner_part(low)
        full = interpolate(low, (self.height, self.width), mode="bilinear", align_corners=False)
        return full.flatten(0, 1)[: len(logits)]

    def _inner_part(self, low: torch.Tensor) -> torch.Tensor:
        """Logits at the square's size, cut to the image; rows and columns of padding alone are not computed."""
        factor = self.side // low.shape[-1]
        height, width = self.inner
        if factor * low.shape[-1] != self.side or low.shape[-2] != low.shape[-1]:
            return interpolate(low, (self.side, self.side), mode="bilinear", align_corners=False)[..., :height, :width]
        # Two more rows: what lies at the cut must not be mistaken for the border of the picture.
        needed = [min(low.shape[-1], -(-length // factor) + 2) for length in self.inner]
        part = low[..., : needed[0], : needed[1]]
        size = (needed[0] * factor, needed[1] * factor)
        return interpolate(part, size, mode="bilinear", align_corners=False)[..., :height, :width]
