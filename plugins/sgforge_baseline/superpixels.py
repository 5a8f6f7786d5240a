"""Segmenter `superpixels`: SLIC superpixels on a reduced image, merged into a hierarchy of nested regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.segmentation import slic

from sgforge.edits import Edit
from sgforge.errors import ImageError
from sgforge.graph import Region, Sample
from sgforge.masks import from_arrays
from sgforge.stages import Answer, Failure
from sgforge_baseline.config import SuperpixelsOptions
from sgforge_baseline.hierarchy import Node, build_hierarchy

__all__ = ["SuperpixelSegmenter"]

_NAME = "superpixels"


class SuperpixelSegmenter:
    """Nested regions with masks, boxes, parents and levels (0 is the coarsest), scored by their boundary's contrast.

    A region that several levels share is added once, at its coarsest level; its parent is the region of a coarser
    level that it is merged into. No region has a label.
    """

    def __init__(self, options: SuperpixelsOptions) -> None:
        self.options = options

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """The regions of each image; an image that is missing or broken is a `Failure`."""
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Answer:
        if self.options.only_without_regions and sample.graph.regions:
            return Edit()
        if sample.image is None:
            return Failure("no-image", f"image {sample.image_id} has no pixels to segment")
        try:
            pixels = sample.image.array()
        except ImageError as error:
            return Failure("bad-image", str(error))
        return Edit(regions=tuple(self.regions(pixels, first=len(sample.graph.all.regions))))

    def regions(self, pixels: NDArray[np.uint8], first: int = 0) -> list[Region]:
        """The regions of (H, W, 3) RGB pixels; `first` is the index that the first of them will have."""
        height, width = pixels.shape[:2]
        factor = max(1, round(max(height, width) / self.options.working_side))
        small = _reduce(pixels, factor)
        labels = slic(small, self.options.segments, self.options.compactness, start_label=0)
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        nodes = build_hierarchy(labels, rgb2lab(small), self.options.levels)
        full = labels.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]
        return _to_regions(nodes, full, first)


def _reduce(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """(ceil(H / factor), ceil(W / factor), 3) block means in [0, 1]; edge blocks repeat the last pixels."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor, 3)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32) / 255
    return means


def _to_regions(nodes: Sequence[Node], labels: NDArray[np.int64], first: int) -> list[Region]:
    count = int(labels.max()) + 1
    regions = []
    for node in nodes:
        belongs = np.zeros(count, np.bool_)
        belongs[node.leaves] = True
        mask = from_arrays(belongs[labels][None])[0]
        regions.append(
            Region(
                box=mask.box,
                mask=mask,
                score=node.contrast,
                parent=None if node.parent is None else first + node.parent,
                level=node.level,
                source=_NAME,
            )
        )
    return regions
