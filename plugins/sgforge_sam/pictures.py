"""The pixels of samples for a segmenter; what cannot be segmented is a failure of its own image."""

from __future__ import annotations

import numpy as np

from sgforge.errors import ImageError
from sgforge.graph import Sample
from sgforge.stages import Failure
from sgforge_sam.frames import Pixels

__all__ = ["pixels_of"]


def pixels_of(sample: Sample) -> Pixels | Failure:
    """(H, W, 3) uint8 RGB of a sample, or why there are none."""
    if sample.image is None:
        return Failure("no-image", f"image {sample.image_id} has no pixels to segment")
    try:
        pixels = sample.image.array()
    except ImageError as error:
        return Failure("bad-image", str(error))
    height, width = pixels.shape[:2]
    graph = sample.graph
    if graph.width and (graph.width, graph.height) != (width, height):
        sizes = f"{width}x{height} pixels, its graph says {graph.width}x{graph.height}"
        return Failure("size-differs", f"image {sample.image_id} has {sizes}")
    return np.ascontiguousarray(pixels)
