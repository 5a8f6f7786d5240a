"""Segment everything against segment-anything's own generator, in one process, on the same random weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sam.tiny import picture, tiny_sam
from scipy import ndimage

from sgforge.masks import to_array
from sgforge_sam.features import Encoder
from sgforge_sam.generator import Grid, generate
from sgforge_sam.original import OriginalSam

PLAIN = {"points_per_side": 5, "points_per_batch": 16}


def slow_nms(boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Suppression written from its definition, for the reference to call."""
    kept: list[int] = []
    for index in torch.sort(scores, descending=True, stable=True).indices.tolist():
        x0, y0, x1, y1 = boxes[index].tolist()
        clear = True
        for other in kept:
            u0, v0, u1, v1 = boxes[other].tolist()
            shared = max(min(x1, u1) - max(x0, u0), 0) * max(min(y1, v1) - max(y0, v0), 0)
            union = (x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - shared
            clear &= not (union and shared / union > iou_threshold)
        if clear:
            kept.append(index)
    return torch.tensor(kept, dtype=torch.int64)


@pytest.fixture(scope="module")
def sam() -> Any:
    return tiny_sam()


def components(mask: np.ndarray, connectivity: int) -> tuple[int, np.ndarray, np.ndarray, None]:
    """What the reference asks of OpenCV, by scipy."""
    assert connectivity == 8
    label, number = ndimage.label(mask, np.ones((3, 3), int))
    return number + 1, label, np.bincount(label.ravel(), minlength=number + 1)[:, None], None


@pytest.fixture
def reference(sam: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import segment_anything.automatic_mask_generator as module

    opencv = ModuleType("cv2")
    opencv.connectedComponentsWithStats = components  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", opencv)
    monkeypatch.setattr(module, "batched_nms", slow_nms)
    return lambda **options: module.SamAutomaticMaskGenerator(sam, **options)


CASES = {
    "defaults": ({}, {}),
    "no filters": (
        {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0},
        {"pred_iou": 0.0, "stability": 0.0, "box_nms": 1.0},
    ),
    "some": (
        {"pred_iou_thresh": 0.8, "stability_score_thresh": 0.2, "box_nms_thresh": 0.99},
        {"pred_iou": 0.8, "stability": 0.2, "box_nms": 0.99},
    ),
    "one layer of crops": (
        {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.0, "crop_n_layers": 1, "crop_nms_thresh": 0.8},
        {"pred_iou": 0.7, "stability": 0.0, "crop_layers": 1, "crop_nms": 0.8},
    ),
    "cleaned": (
        {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.1, "box_nms_thresh": 1.0, "min_mask_region_area": 40},
        {"pred_iou": 0.5, "stability": 0.1, "box_nms": 1.0, "clean": 40},
    ),
    "two layers, fewer points": (
        {
            "pred_iou_thresh": 0.7,
            "stability_score_thresh": 0.0,
            "crop_n_layers": 2,
            "crop_n_points_downscale_factor": 2,
            "crop_overlap_ratio": 0.5,
        },
        {"pred_iou": 0.7, "stability": 0.0, "crop_layers": 2, "crop_points_downscale": 2, "crop_overlap": 0.5},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [(60, 80), (300, 130)])
def test_masks_are_those_of_the_reference(case: str, size: tuple[int, int], sam: Any, reference: Any) -> None:
    theirs, ours = CASES[case]
    pixels = picture(*size)
    records = reference(**PLAIN, **theirs).generate(pixels)
    found = generate(Encoder(OriginalSam(sam)), pixels, Grid(**PLAIN, **ours))
    assert case == "defaults" or len(found) > 2
    assert len(found) == len(records)
    for proposal, record in zip(found, records, strict=True):
        assert np.array_equal(to_array(proposal.mask), record["segmentation"])
        assert proposal.iou == pytest.approx(record["predicted_iou"], abs=1e-6)
        assert proposal.stability == pytest.approx(record["stability_score"], abs=1e-6, nan_ok=True)
        assert list(proposal.point) == record["point_coords"][0]
        x, y, width, height = record["crop_box"]
        assert (proposal.crop.x0, proposal.crop.y0) == (x, y)
        assert (proposal.crop.x1 - x, proposal.crop.y1 - y) == (width, height)
