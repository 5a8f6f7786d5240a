"""Segmenter `superpixels`: SLIC superpixels on a reduced image, merged into a hierarchy of nested regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.segmentation import slic

from sgforge.edits import Edit
from sgforge.errors import ImageError
from sgforge.graph import Mask, Region, Sample
from sgforge.masks import from_array
from sgforge.stages import Answer, Failure
from sgforge_baseline.config import SuperpixelsOptions
from sgforge_baseline.hierarchy import Node, build_hierarchy

__all__ = ["SuperpixelSegmenter"]

Frame: TypeAlias = tuple[int, int]

_NAME: Final = "superpixels"


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
        return _to_regions(nodes, labels, factor, first, (height, width))


def _reduce(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """(ceil(H / factor), ceil(W / factor), 3) block means in [0, 1]; edge blocks repeat the last pixels."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor, 3)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32) / 255
    return means


def _to_regions(
    nodes: Sequence[Node], labels: NDArray[np.int64], factor: int, first: int, frame: Frame
) -> list[Region]:
    """Regions of the full frame (height, width) from `labels` of the image reduced by `factor`."""
    corners = _corners(labels)
    regions = []
    for node in nodes:
        y0, x0 = corners[node.leaves, :2].min(axis=0).tolist()
        y1, x1 = corners[node.leaves, 2:].max(axis=0).tolist()
        belongs = np.zeros(len(corners), np.bool_)
        belongs[node.leaves] = True
        small = belongs[labels[y0:y1, x0:x1]]
        mask = _placed(small.repeat(factor, axis=0).repeat(factor, axis=1), y0 * factor, x0 * factor, frame)
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


def _placed(pixels: NDArray[np.bool_], y: int, x: int, frame: Frame) -> Mask:
    """The mask whose pixels from (y, x) on are these; what reaches beyond the frame is the padding of the reduction."""
    height, width = frame
    crop = from_array(pixels[: height - y, : width - x])
    return attrs.evolve(crop, height=height, width=width, x=crop.x + x, y=crop.y + y)


def _corners(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(S, 4) first row, first column, last row + 1, last column + 1 of each superpixel."""
    rows, columns = np.indices(labels.shape)
    count = int(labels.max()) + 1
    corners = np.empty((count, 4), np.int64)
    for place, axis in enumerate((rows, columns)):
        corners[:, place] = axis.max()
        np.minimum.at(corners[:, place], labels, axis)
        corners[:, place + 2] = 0
        np.maximum.at(corners[:, place + 2], labels, axis + 1)
    return corners
