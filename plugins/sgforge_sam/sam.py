"""Segmenter `sam`: every mask of an image, and masks for the boxes that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sgforge.edits import Edit
from sgforge.graph import Mask, Sample
from sgforge.stages import Answer, Failure, Resources
from sgforge_sam.config import SamOptions
from sgforge_sam.crops import Crop
from sgforge_sam.cutouts import cutouts_above
from sgforge_sam.features import Encoder
from sgforge_sam.frames import Pixels
from sgforge_sam.generator import generate
from sgforge_sam.pictures import pixels_of
from sgforge_sam.presets import grid_of
from sgforge_sam.protocol import in_halves
from sgforge_sam.regions import NO_PIXELS, region_of, with_parents
from sgforge_sam.sharing import Borrowed
from sgforge_sam.weights import borrow_sam

__all__ = ["SamSegmenter", "masks_of_boxes"]


class SamSegmenter:
    """Adds a region for each mask of each preset: box, score (predicted IoU), parent, and which preset it is of.

    Level: which of the model's masks of a point it was, from 0, the smallest. Masks without pixels are counted as
    `empty-mask`.
    """

    def __init__(self, options: SamOptions) -> None:
        self.options = options
        self._borrowed: Borrowed | None = None

    def setup(self, resources: Resources) -> None:
        """Loads the weights, or shares those that another step of this process has loaded."""
        self._borrowed = borrow_sam(self.options, resources)

    def close(self) -> None:
        """Lets go of the weights."""
        if self._borrowed is not None:
            self._borrowed.close()

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """The regions of each image; the encoder sees all images of the batch together."""
        assert self._borrowed is not None, "setup() comes first"
        encoder = self._borrowed.encoder
        pixels = [pixels_of(sample) for sample in samples]
        if not self.options.crop_layers or self.options.boxes:
            encoder.batch([one for one in pixels if not isinstance(one, Failure)])
        return [
            one if isinstance(one, Failure) else self._one(encoder, sample, one)
            for sample, one in zip(samples, pixels, strict=True)
        ]

    def _one(self, encoder: Encoder, sample: Sample, pixels: Pixels) -> Edit:
        regions = []
        empty = 0
        for preset in self.options.presets:
            for found in generate(encoder, pixels, grid_of(preset, self.options)):
                if found.mask.box is None:
                    empty += 1
                else:
                    regions.append(region_of(found.mask, found.iou, found.output, f"sam:{preset}"))
        edit = Edit(regions=tuple(with_parents(regions, len(sample.graph.all.regions))))
        masks = self._of_boxes(encoder, sample, pixels) if self.options.boxes else {}
        empty += sum(mask.box is None for mask in masks.values())
        sets = [Edit.set("region", index, mask=mask) for index, mask in masks.items() if mask.box is not None]
        return Edit.sum([edit, *sets, Edit(faults={NO_PIXELS: empty} if empty else {})])

    def _of_boxes(self, encoder: Encoder, sample: Sample, pixels: Pixels) -> dict[int, Mask]:
        boxes = {
            index: region.box
            for index, region in sample.graph.regions.items()
            if region.box is not None and region.mask is None
        }
        found = masks_of_boxes(encoder, pixels, np.array([*boxes.values()]).reshape(-1, 4), self.options)
        return dict(zip(boxes, found, strict=True))


@torch.inference_mode()
def masks_of_boxes(encoder: Encoder, pixels: Pixels, boxes: np.ndarray, options: SamOptions) -> list[Mask]:
    """For each box (N, 4) xyxy the mask with the highest predicted IoU; it may have no pixels."""
    if not len(boxes):
        return []
    features = encoder.features(pixels)
    height, width = pixels.shape[:2]
    whole = Crop(0, 0, width, height)

    def decode(some: Sequence[np.ndarray]) -> list[Mask]:
        decoded = encoder.model.decode_boxes(features, np.asarray(some, np.float64))
        rows = torch.arange(len(some), device=decoded.iou.device)
        logits = features.frame.enlarge(decoded.logits[rows, decoded.iou.argmax(dim=1)])
        return [one.placed(whole, height, width) for one in cutouts_above(logits, encoder.model.threshold)]

    masks: list[Mask] = []
    for begin in range(0, len(boxes), options.points_per_batch):
        masks += in_halves(decode, boxes[begin : begin + options.points_per_batch])
    return masks
