"""What a promptable model must offer to the mask generator: encode images once, decode prompts as often as needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from sgforge_sam.frames import Pixels

__all__ = ["Decoded", "Features", "Placed", "PromptedModel", "in_halves"]

T = TypeVar("T")
R = TypeVar("R")


class Placed(Protocol):
    """Where an image lies in the input of its model."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def enlarge(self, logits: torch.Tensor) -> torch.Tensor:
        """(N, h, w) low-resolution logits to (N, height, width)."""
        ...


@attrs.frozen(eq=False)
class Features:
    """What the encoder made of one image: `tensors` as the model keeps them, and the `frame` of the image."""

    tensors: tuple[torch.Tensor, ...]
    frame: Placed

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)


@attrs.frozen(eq=False)
class Decoded:
    """Of P prompts, T masks each: `logits` (P, T, h, w) float32 of low resolution, `iou` (P, T) predicted IoU."""

    logits: torch.Tensor
    iou: torch.Tensor


class PromptedModel(Protocol):
    """A model of the SAM kind on its device.

    `outputs`: how many masks it gives for a prompt. `threshold`: logits above it are in the mask.
    """

    outputs: int
    threshold: float

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def placed(self, pixels: Pixels, /) -> Placed:
        """Where a (H, W, 3) image lies in the model's input."""
        ...

    def encode(self, images: Sequence[Pixels], /) -> list[Features]:
        """Features of (H, W, 3) uint8 RGB images, in one pass of the encoder."""
        ...

    def decode_points(self, features: Features, points: NDArray[np.float64], /) -> Decoded:
        """Masks for single foreground points (P, 2) x, y in pixels of the image."""
        ...

    def decode_boxes(self, features: Features, boxes: NDArray[np.float64], /) -> Decoded:
        """Masks for boxes (P, 4) xyxy in pixels of the image."""
        ...


def in_halves(work: Callable[[Sequence[T]], list[R]], items: Sequence[T]) -> list[R]:
    """`work(items)`; where the device's memory does not hold it, of each half by itself, and this is said once."""
    if not len(items):
        return []
    try:
        return work(items)
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
        torch.cuda.empty_cache()
        warnings.warn(f"{len(items)} at a time do not fit the device's memory: halved", RuntimeWarning, stacklevel=2)
    half = len(items) // 2
    return [*in_halves(work, items[:half]), *in_halves(work, items[half:])]
