"""The regions of a sample as Robin is shown them: which, in what order, with what masks and box texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sgforge.graph import Region, Sample
from sgforge.masks import to_array
from sgforge_robin.text.places import Thousandths, box_text, thousandths

__all__ = ["MOST_REGIONS", "box_shares", "box_texts", "by_size", "masks_of", "salient", "thousandths_of"]

MOST_REGIONS: Final = 99
"""How many regions a Robin is shown at most, as released."""


def salient(sample: Sample, most: int = MOST_REGIONS) -> list[int]:
    """Indices of kept regions with a box or a mask, at most `most`: the largest boxes, in the order of their index.

    Ours: the released code takes regions as they come.
    """
    graph = sample.graph
    placed = [index for index, region in graph.regions.items() if _box(region) is not None]
    return placed if len(placed) <= most else sorted(by_size(sample, most))


def by_size(sample: Sample, most: int) -> list[int]:
    """Indices of kept regions with a box or a mask, at most `most`, the largest box first."""
    regions = sample.graph.regions
    placed = [index for index, region in regions.items() if _box(region) is not None]
    return sorted(placed, key=lambda index: (-_area(regions[index]), index))[:most]


def masks_of(sample: Sample, regions: Sequence[Region]) -> Tensor | None:
    """(N, h, w) uint8 masks in the image's frame; a region without a mask is its box, at least one pixel."""
    if not regions:
        return None
    height, width = _frame(sample)
    masks = np.zeros((len(regions), height, width), np.uint8)
    for place, region in enumerate(regions):
        if region.mask is not None and region.mask.box is not None:
            masks[place] = to_array(region.mask)
            continue
        x0, y0, x1, y1 = _box(region) or (0.0, 0.0, float(width), float(height))
        left, top = min(max(int(x0), 0), width - 1), min(max(int(y0), 0), height - 1)
        masks[place, top : max(int(np.ceil(y1)), top + 1), left : max(int(np.ceil(x1)), left + 1)] = 1
    return torch.from_numpy(masks)


def box_texts(sample: Sample, regions: Sequence[Region]) -> list[str]:
    """Each region's box as text."""
    height, width = _frame(sample)
    boxes = (_box(region) for region in regions)
    return ["" if box is None else box_text([box], width, height) for box in boxes]


def thousandths_of(sample: Sample, regions: Sequence[Region]) -> list[Thousandths]:
    """Each region's box in thousandths of the image's sides."""
    height, width = _frame(sample)
    return [thousandths(_box(region) or (0.0, 0.0, width, height), width, height) for region in regions]


def box_shares(sample: Sample, regions: Sequence[Region]) -> Tensor:
    """(N, 4) boxes as shares of the image's sides."""
    height, width = _frame(sample)
    boxes = [_box(region) or (0.0, 0.0, float(width), float(height)) for region in regions]
    return torch.tensor(boxes).reshape(-1, 4) / torch.tensor([width, height, width, height])


def _frame(sample: Sample) -> tuple[int, int]:
    """Height and width that boxes and masks are in."""
    if sample.graph.width:
        return sample.graph.height, sample.graph.width
    if sample.image is None:
        return 1, 1
    width, height = sample.image.size()
    return height, width


def _box(region: Region) -> tuple[float, float, float, float] | None:
    return region.box if region.box is not None or region.mask is None else region.mask.box


def _area(region: Region) -> float:
    x0, y0, x1, y1 = _box(region) or (0.0, 0.0, 0.0, 0.0)
    return (x1 - x0) * (y1 - y0)
