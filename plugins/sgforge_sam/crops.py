"""The grid of points and the crops of an image that automatic mask generation goes through."""

from __future__ import annotations

import math
from itertools import product

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["Crop", "crops_of", "near_inner_edge", "point_grid"]

_EDGE_PIXELS = 20.0


@attrs.frozen
class Crop:
    """A rectangle of an image, x0, y0, x1, y1 in pixels, of a `layer` (0 is the whole image)."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int = 0

    @property
    def area(self) -> int:
        """Pixels in it."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def point_grid(per_side: int) -> NDArray[np.float64]:
    """(per_side ** 2, 2) x, y in fractions of the image, row by row, each in the middle of its cell."""
    places = np.linspace(1 / (2 * per_side), 1 - 1 / (2 * per_side), per_side)
    return np.stack([np.tile(places, per_side), np.repeat(places, per_side)], axis=1)


def crops_of(height: int, width: int, layers: int, overlap: float) -> list[Crop]:
    """The whole image, then for each layer i from 1 on its 4 ** i crops, column by column.

    Neighbours share `overlap` (a fraction of the shorter side, halved with each layer) pixels (segment-anything).
    """
    crops = [Crop(0, 0, width, height)]
    for layer in range(1, layers + 1):
        number = 2**layer
        shared = int(overlap * min(height, width) * (2 / number))
        wide, high = (math.ceil((shared * (number - 1) + length) / number) for length in (width, height))
        lefts = [int((wide - shared) * place) for place in range(number)]
        tops = [int((high - shared) * place) for place in range(number)]
        crops += [
            Crop(x0=x, y0=y, x1=min(x + wide, width), y1=min(y + high, height), layer=layer)
            for x, y in product(lefts, tops)
        ]
    return crops


def near_inner_edge(boxes: NDArray[np.float32], crop: Crop, height: int, width: int) -> NDArray[np.bool_]:
    """Which boxes (N, 4) of the image end within 20 pixels of an edge of the crop that is no edge of the image."""
    near_crop = np.abs(boxes - np.array([crop.x0, crop.y0, crop.x1, crop.y1], np.float32)) <= _EDGE_PIXELS
    near_image = np.abs(boxes - np.array([0, 0, width, height], np.float32)) <= _EDGE_PIXELS
    cut: NDArray[np.bool_] = (near_crop & ~near_image).any(axis=1)
    return cut
