"""Segmenter `sam`: every mask of an image, and masks for the boxes that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sgforge.edits import Edit
from sgforge.graph import Mask, Sample
from sgforge.stages import Resources
from sgforge_sam.config import SamOptions
from sgforge_sam.cutouts import masks_above
from sgforge_sam.encoded import EncodedSegmenter
from sgforge_sam.features import Encoder
from sgforge_sam.frames import Pixels
from sgforge_sam.generator import generate
from sgforge_sam.presets import grid_of
from sgforge_sam.protocol import in_halves
from sgforge_sam.regions import NO_PIXELS, Found, added
from sgforge_sam.weights import sam_encoder

__all__ = ["SamSegmenter", "masks_of_boxes"]


class SamSegmenter(EncodedSegmenter):
    """Adds a region for each mask of each preset: box, score (predicted IoU), stability, parent, which preset it is of.

    Level: which of the model's masks of a point it was, from 0, the smallest. Masks without pixels are counted as
    `empty-mask`.
    """

    def __init__(self, options: SamOptions) -> None:
        super().__init__()
        self.options = options

    def load(self, resources: Resources) -> Encoder:
        """The encoder, loaded or shared."""
        return sam_encoder(self.options, resources)

    def edit(self, encoder: Encoder, sample: Sample, pixels: Pixels) -> Edit:
        """The masks of all presets, and of boxes if these are asked for."""
        found = [
            Found(one.mask, one.iou, one.output, f"sam:{preset}", stability=one.stability)
            for preset in self.options.presets
            for one in generate(encoder, pixels, grid_of(preset, self.options))
        ]
        masks = self._of_boxes(encoder, sample, pixels) if self.options.boxes else {}
        sets = [Edit.set("region", index, mask=mask) for index, mask in masks.items() if mask.box is not None]
        empty = len(masks) - len(sets)
        return Edit.sum(
            [
                added(found, len(sample.graph.all.regions), self.options.disjoint),
                *sets,
                Edit(faults={NO_PIXELS: empty} if empty else {}),
            ]
        )

    def _of_boxes(self, encoder: Encoder, sample: Sample, pixels: Pixels) -> dict[int, Mask]:
        boxes = {
            index: region.box
            for index, region in sample.graph.regions.items()
            if region.box is not None and region.mask is None
        }
        found = masks_of_boxes(
            encoder, pixels, np.array([*boxes.values()]).reshape(-1, 4), self.options.points_per_batch
        )
        return dict(zip(boxes, found, strict=True))


@torch.inference_mode()
def masks_of_boxes(encoder: Encoder, pixels: Pixels, boxes: np.ndarray, at_a_time: int) -> list[Mask]:
    """For each box (N, 4) xyxy the mask of the highest predicted IoU, which may have no pixels; some at a time."""
    if not len(boxes):
        return []
    features = encoder.features(pixels)

    def decode(some: Sequence[np.ndarray]) -> list[Mask]:
        decoded = encoder.model.decode_boxes(features, np.asarray(some, np.float64))
        rows = torch.arange(len(some), device=decoded.iou.device)
        return masks_above(decoded.logits[rows, decoded.iou.argmax(dim=1)], features.frame, encoder.model.threshold)

    masks: list[Mask] = []
    for begin in range(0, len(boxes), at_a_time):
        masks += in_halves(decode, boxes[begin : begin + at_a_time])
    return masks
