"""The grids behind the presets' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from sgforge_sam.config import Preset, SamOptions
from sgforge_sam.generator import Grid

__all__ = ["PRESETS", "grid_of"]

PRESETS: Final[Mapping[Preset, Grid]] = {
    "default": Grid(),
    "whole": Grid(outputs=(2,), pred_iou=0.8, stability=0.8, clean=300, min_area=300),
    "part": Grid(outputs=(1,), pred_iou=0.9, stability=0.9, clean=300, min_area=300),
}
"""segment-anything's defaults, and the two generators of Synthetic Visual Genome's region code."""


def grid_of(preset: Preset, options: SamOptions) -> Grid:
    """The grid of a preset, with what the options say."""
    replaced = {name: getattr(options, name) for name in ("pred_iou", "stability", "clean", "min_area")}
    return attrs.evolve(
        PRESETS[preset],
        points_per_side=options.points_per_side,
        points_per_batch=options.points_per_batch,
        stability_offset=options.stability_offset,
        box_nms=options.box_nms,
        crop_layers=options.crop_layers,
        crop_nms=options.crop_nms,
        crop_overlap=options.crop_overlap,
        crop_points_downscale=options.crop_points_downscale,
        **{name: value for name, value in replaced.items() if value is not None},
    )
