"""The pixels of a sample, for components that look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgforge.errors import ImageError
from sgforge.graph import Sample
from sgforge.stages.values import Failure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["pixels_of"]


def pixels_of(sample: Sample) -> NDArray[np.uint8] | Failure:
    """(H, W, 3) uint8 RGB of a sample, or why there are none: no image, a broken one, or one that its graph is not of.

    The reasons are `no-image`, `bad-image` and `size-differs`.
    """
    if sample.image is None:
        return Failure("no-image", f"image {sample.image_id} has no pixels")
    try:
        pixels: NDArray[np.uint8] = sample.image.array()
    except ImageError as error:
        return Failure("bad-image", str(error))
    height, width = pixels.shape[:2]
    graph = sample.graph
    if graph.width and (graph.width, graph.height) != (width, height):
        sizes = f"{width}x{height} pixels, its graph says {graph.width}x{graph.height}"
        return Failure("size-differs", f"image {sample.image_id} has {sizes}")
    return pixels
