"""Segment everything: masks for a grid of points, filtered and freed of duplicates.

The result is that of segment-anything's `SamAutomaticMaskGenerator` for equal options; its order of work is not. The
predicted IoU decides before any mask is enlarged, masks stay packed until it is known which remain, and run lengths
are written for these alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from sgforge.graph import Mask
from sgforge.masks import PackedMasks, selection
from sgforge_sam.crops import Crop, crops_of, near_inner_edge, point_grid
from sgforge_sam.cutouts import Cutout, at_a_time, count_above, cutouts_above
from sgforge_sam.features import Encoder
from sgforge_sam.frames import Pixels
from sgforge_sam.protocol import Features, PromptedModel, in_halves

__all__ = ["Grid", "Proposal", "generate"]

Floats = NDArray[np.float32]


@attrs.frozen
class Grid:
    """How to segment everything; names and defaults are those of segment-anything where it has them.

    `points_per_side`: points of the grid. `points_per_batch`: prompts decoded at a time. `pred_iou`: masks whose
    predicted IoU is not above it are dropped; `stability`: also those whose mask changes more than to this share
    when the logits' threshold moves by `stability_offset` up and down. `box_nms`: of masks whose boxes overlap more
    than this IoU the one of the highest predicted IoU stays; `crop_nms`: the same among crops, for the smaller crop.
    `crop_layers`, `crop_overlap`, `crop_points_downscale`: layers of crops, each of four times as many with so much
    fewer points a side. `clean`: fill holes and drop islands of fewer pixels, and suppress again. `outputs`: which of
    the model's masks of a point are taken; all by default. `min_area`: masks of fewer pixels are dropped at the end
    (not a rule of segment-anything; Synthetic Visual Genome has it).
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou: float = 0.88
    stability: float = 0.95
    stability_offset: float = 1.0
    box_nms: float = 0.7
    crop_layers: int = 0
    crop_nms: float = 0.7
    crop_overlap: float = 512 / 1500
    crop_points_downscale: int = 1
    clean: int = 0
    outputs: tuple[int, ...] | None = None
    min_area: int = 0


@attrs.frozen
class Proposal:
    """One mask that was found: predicted IoU, stability, the prompt's point (x, y), and which output of the model."""

    mask: Mask
    iou: float
    stability: float
    point: tuple[float, float]
    output: int
    crop: Crop


@attrs.frozen(eq=False)
class _Candidate:
    cutout: Cutout
    iou: float
    stability: float
    point: tuple[float, float]
    output: int
    crop: Crop

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Its box in the image by the indices of its first and last pixels, as the reference measures boxes."""
        x0, y0, x1, y1 = self.cutout.box
        left, top = self.crop.x0, self.crop.y0
        return (x0 + left, y0 + top, max(x1 - 1, 0) + left, max(y1 - 1, 0) + top)


def generate(encoder: Encoder, pixels: Pixels, grid: Grid) -> list[Proposal]:
    """The masks of (H, W, 3) uint8 RGB pixels, by falling predicted IoU within their crop, smaller crops first."""
    height, width = pixels.shape[:2]
    crops = crops_of(height, width, grid.crop_layers, grid.crop_overlap)
    found: list[_Candidate] = []
    for crop in crops:
        found += _of_crop(encoder, pixels, crop, grid)
    if len(crops) > 1:
        found = _suppressed(found, [1 / one.crop.area for one in found], grid.crop_nms)
    if grid.clean:
        return _cleaned([_proposal(one, height, width) for one in found], grid)
    return [_proposal(one, height, width) for one in found if one.cutout.area >= grid.min_area]


def _proposal(candidate: _Candidate, height: int, width: int) -> Proposal:
    return Proposal(
        mask=candidate.cutout.placed(candidate.crop, height, width),
        iou=candidate.iou,
        stability=candidate.stability,
        point=candidate.point,
        output=candidate.output,
        crop=candidate.crop,
    )


def _of_crop(encoder: Encoder, pixels: Pixels, crop: Crop, grid: Grid) -> list[_Candidate]:
    """The candidates of one crop after suppression among them."""
    features = encoder.features(pixels[crop.y0 : crop.y1, crop.x0 : crop.x1])
    per_side = int(grid.points_per_side / grid.crop_points_downscale**crop.layer)
    points = point_grid(per_side) * np.array([crop.x1 - crop.x0, crop.y1 - crop.y0])
    found: list[_Candidate] = []
    for begin in range(0, len(points), grid.points_per_batch):
        batch = points[begin : begin + grid.points_per_batch]
        found += in_halves(lambda some: _of_points(encoder.model, features, np.asarray(some), crop, grid), batch)
    height, width = pixels.shape[:2]
    cut = near_inner_edge(_edges(found), crop, height, width)
    found = [one for one, is_cut in zip(found, cut.tolist(), strict=True) if not is_cut]
    return _suppressed(found, [one.iou for one in found], grid.box_nms)


@torch.inference_mode()
def _of_points(
    model: PromptedModel, features: Features, points: NDArray[np.float64], crop: Crop, grid: Grid
) -> list[_Candidate]:
    decoded = model.decode_points(features, points)
    outputs = torch.tensor(grid.outputs or range(decoded.iou.shape[1]), device=decoded.iou.device)
    iou = decoded.iou[:, outputs]
    good = iou > grid.pred_iou if grid.pred_iou > 0 else torch.ones_like(iou, dtype=torch.bool)
    prompt, place = torch.nonzero(good, as_tuple=True)
    found: list[_Candidate] = []
    number = at_a_time(features.frame)
    for rows, columns in zip(prompt.split(number), outputs[place].split(number), strict=True):
        logits = features.frame.enlarge(decoded.logits[rows, columns])
        stability, stable = _stability(logits, model.threshold, grid)
        cutouts = cutouts_above(logits[stable], model.threshold)
        kept = stable.tolist()
        for cutout, index in zip(cutouts, kept, strict=True):
            row, output = int(rows[index]), int(columns[index])
            x, y = points[row].tolist()
            found.append(
                _Candidate(
                    cutout=cutout,
                    iou=float(decoded.iou[row, output]),
                    stability=float(stability[index]),
                    point=(x + crop.x0, y + crop.y0),
                    output=output,
                    crop=crop,
                )
            )
    return found


def _stability(logits: torch.Tensor, threshold: float, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """The stability of each mask, NaN where it is nothing over nothing, and the indices of those that are stable."""
    inner = count_above(logits, threshold + grid.stability_offset)
    outer = count_above(logits, threshold - grid.stability_offset)
    stability = inner.to(torch.float32) / outer.to(torch.float32)
    stable = stability >= grid.stability if grid.stability > 0 else torch.ones_like(stability, dtype=torch.bool)
    return stability, torch.nonzero(stable)[:, 0]


def _edges(candidates: Sequence[_Candidate]) -> Floats:
    return np.array([one.edges for one in candidates], np.float32).reshape(-1, 4)


def _suppressed(candidates: Sequence[_Candidate], scores: Sequence[float], iou: float) -> list[_Candidate]:
    return [candidates[index] for index in selection.nms(_edges(candidates), np.float32(scores), iou).tolist()]


def _cleaned(proposals: Sequence[Proposal], grid: Grid) -> list[Proposal]:
    """The proposals without small holes and islands; of those that now coincide the unchanged ones stay.

    Last, those that are too small are dropped.
    """
    if not proposals:
        return []
    cleaned = selection.clean(PackedMasks.from_masks([one.mask for one in proposals]), grid.clean)
    edges = cleaned.masks.boxes.astype(np.float32)
    edges[:, 2:] = np.maximum(edges[:, 2:] - 1, 0)
    kept = selection.nms(edges, ~cleaned.changed, max(grid.box_nms, grid.crop_nms))
    kept = kept[cleaned.masks.areas[kept] >= grid.min_area]
    masks = cleaned.masks.take(kept).masks()
    return [attrs.evolve(proposals[index], mask=mask) for index, mask in zip(kept.tolist(), masks, strict=True)]
