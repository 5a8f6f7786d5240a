"""Masks on their way: bits of the window around each, until it is known which of them stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from sgforge.graph import Mask
from sgforge.masks import PackedMasks
from sgforge_sam.crops import Crop
from sgforge_sam.protocol import Placed

__all__ = ["Cutout", "at_a_time", "count_above", "cutouts_above", "masks_above"]

_PIXELS: Final = 24_000_000


@attrs.frozen(eq=False)
class Cutout:
    """One mask of a crop: its rows `y` on, from column `x` on, packed to 64-bit words; `box` is tight, in the crop."""

    words: NDArray[np.uint64]
    x: int
    y: int
    box: tuple[int, int, int, int]

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.bitwise_count(self.words).sum(dtype=np.int64))

    def placed(self, crop: Crop, height: int, width: int) -> Mask:
        """The mask in the image of `height` x `width`."""
        if not self.words.size:
            return Mask(height=height, width=width, x=0, y=0, crop_width=0, crop_height=0, counts=b"")
        x, y = self.x + crop.x0, self.y + crop.y0
        # The last word of a row may reach beyond the frame, with zeros.
        mask = PackedMasks.from_words(self.words.shape[1] * 64, self.words[None]).masks()[0]
        return attrs.evolve(mask, height=height, width=width, x=mask.x + x, y=mask.y + y)


def at_a_time(frame: Placed) -> int:
    """How many masks of an image to enlarge together: a few stay near the processor, and of a large image in memory.

    A multiple of three, see `Frame.enlarge`.
    """
    return 3 * max(1, min(3, _PIXELS // (3 * frame.height * frame.width)))


def masks_above(logits: torch.Tensor, frame: Placed, threshold: float) -> list[Mask]:
    """The masks (N,) of an image where low-resolution logits (N, h, w), enlarged, are above a threshold."""
    whole = Crop(0, 0, frame.width, frame.height)
    return [
        cutout.placed(whole, frame.height, frame.width)
        for some in logits.split(at_a_time(frame))
        for cutout in cutouts_above(frame.enlarge(some), threshold)
    ]


def count_above(logits: torch.Tensor, threshold: float) -> torch.Tensor:
    """Pixels (N,) of (N, H, W) logits above a threshold."""
    if logits.device.type != "cpu":
        return (logits > threshold).sum(dim=(1, 2))
    # numpy counts booleans many at a time, torch widens each of them first.
    return torch.tensor([np.count_nonzero(one > threshold) for one in logits.numpy()])


def cutouts_above(logits: torch.Tensor, threshold: float) -> list[Cutout]:
    """The masks of (N, H, W) logits above a threshold."""
    packed = _packed(logits > threshold)
    return [_cutout(words, box) for words, box in zip(packed.words, packed.boxes.tolist(), strict=True)]


def _packed(inside: torch.Tensor) -> PackedMasks:
    if inside.device.type == "cpu":
        return PackedMasks.from_arrays(inside.numpy())
    width = inside.shape[2]
    bits = torch.nn.functional.pad(inside, (0, -width % 64)).unflatten(2, (-1, 8)).to(torch.uint8)
    weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=bits.device)
    packed = (bits * weights).sum(dim=3, dtype=torch.uint8).cpu().numpy()  # an eighth of the bytes to fetch
    return PackedMasks.from_words(width, packed.view("<u8").astype(np.uint64, copy=False))


def _cutout(words: NDArray[np.uint64], box: Sequence[int]) -> Cutout:
    x0, y0, x1, y1 = box
    window = words[y0:y1, x0 >> 6 : (x1 + 63) >> 6].copy()
    return Cutout(window, (x0 >> 6) * 64, y0, (x0, y0, x1, y1))
