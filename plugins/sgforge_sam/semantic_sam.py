"""Segmenter `semantic-sam`: every mask of an image at chosen levels of detail."""

from __future__ import annotations

from pathlib import Path

import torch

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.stages import Resources
from sgforge_sam.config import SemanticSamOptions
from sgforge_sam.encoded import EncodedSegmenter
from sgforge_sam.features import Encoder
from sgforge_sam.frames import Pixels
from sgforge_sam.generator import Grid, generate
from sgforge_sam.regions import Found, added
from sgforge_sam.semantic.model import SemanticSam, load_network
from sgforge_sam.weights import content_of, shared_encoder

__all__ = ["SemanticSamSegmenter"]


class SemanticSamSegmenter(EncodedSegmenter):
    """Adds a region for each mask, with its level from 1 to 6, its score (predicted IoU) and its parent.

    Suppression goes over all levels together, as in the released generator: of two alike the one with the higher
    predicted IoU stays, with its level.
    """

    def __init__(self, options: SemanticSamOptions) -> None:
        super().__init__()
        self.options = options

    def load(self, resources: Resources) -> Encoder:
        """The encoder, loaded or shared with steps that differ in levels and thresholds alone."""
        options = self.options

        def load(checkpoint: Path | str, device: torch.device, dtype: torch.dtype) -> SemanticSam:
            # One network for whatever is asked of it: its weights are loaded once in a process.
            key = ("semantic-sam network", content_of(checkpoint), device)
            network = resources.shared.get(key, lambda: load_network(checkpoint, device))
            return SemanticSam(network, apart=options.independent_prompts, short=options.short_side, dtype=dtype)

        kind = (SemanticSam, options.independent_prompts, options.short_side)
        return shared_encoder(options, resources, load, kind, f":{options.short_side}")

    def edit(self, encoder: Encoder, sample: Sample, pixels: Pixels) -> Edit:
        """The masks of all levels."""
        options = self.options
        grid = Grid(
            points_per_side=options.points_per_side,
            points_per_batch=options.points_per_batch,
            pred_iou=options.pred_iou,
            stability=options.stability,
            stability_offset=options.stability_offset,
            box_nms=options.box_nms,
            clean=options.clean,
            min_area=options.min_area,
            outputs=tuple(level - 1 for level in options.levels),
        )
        found = [
            Found(one.mask, one.iou, one.output + 1, "semantic-sam", stability=one.stability)
            for one in generate(encoder, pixels, grid)
        ]
        return added(found, len(sample.graph.all.regions), options.disjoint)
