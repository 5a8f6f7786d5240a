"""The pair head: two region vectors compared, every predicate of a closed vocabulary judged at once. Ours."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sgforge.errors import StepError
from sgforge_robin.model.shape import PairShape

__all__ = ["PairHead", "box_pair_features"]

_BOX: Final = 6
_LAYOUT: Final = 15
_TINY: Final = 1e-6


class PairHead(nn.Module):
    """Mask tokens and position tokens (N, C), boxes (N, 4) as shares of the image, label ids (N,) (the number of labels
    for none), pairs (P, 2), to logits (P, predicates): each predicate for itself, several may hold.

    A pair's features are both vectors, their product and difference, and 15 numbers of how the boxes lie. The product
    is what lets it see that two things look alike.
    """

    def __init__(self, shape: PairShape, token: int) -> None:
        super().__init__()
        self.shape = shape
        self.look = nn.Sequential(nn.LayerNorm(token), nn.Linear(token, shape.width))
        self.place = nn.Sequential(nn.LayerNorm(token), nn.Linear(token, shape.width))
        self.box = nn.Linear(_BOX, shape.width)
        self.label = nn.Embedding(shape.labels + 1, shape.width)
        self.pair = nn.Sequential(
            nn.LayerNorm(8 * shape.width + _LAYOUT),
            nn.Linear(8 * shape.width + _LAYOUT, shape.hidden),
            nn.GELU(),
            nn.Linear(shape.hidden, shape.hidden),
            nn.GELU(),
            nn.Linear(shape.hidden, shape.predicates),
        )
        nn.init.constant_(self.pair[-1].bias, -3.0)  # most predicates hold of few pairs

    def forward(self, tokens: tuple[Tensor, Tensor], boxes: Tensor, labels: Tensor, pairs: Tensor) -> Tensor:
        looks = self.look(tokens[0])
        known = self.place(tokens[1]) + self.box(_box_features(boxes)) + self.label(labels)
        a, b = pairs[:, 0], pairs[:, 1]
        parts = [looks[a], looks[b], looks[a] * looks[b], looks[a] - looks[b]]
        parts += [known[a], known[b], known[a] * known[b], known[a] - known[b]]
        out: Tensor = self.pair(torch.cat([*parts, box_pair_features(boxes, pairs)], dim=1))
        return out

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Binary cross-entropy summed over predicates, mean over the pairs (P, predicates)."""
        if not torch.isfinite(logits).all():
            raise StepError("the pair head's logits are not finite: lower the rate")
        return functional.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="sum") / len(truth)


def _box_features(boxes: Tensor) -> Tensor:
    """(N, 6): the box's four sides, width and height, as shares of the image."""
    return torch.cat([boxes, boxes[:, 2:] - boxes[:, :2]], dim=1)


def box_pair_features(boxes: Tensor, pairs: Tensor) -> Tensor:
    """(P, 15) of how two boxes lie: shifts of centre and edges in the smaller sides, gaps, overlaps, ratios of size."""
    one, two = boxes[pairs[:, 0]], boxes[pairs[:, 1]]
    size_one, size_two = (box[:, 2:] - box[:, :2] + _TINY for box in (one, two))
    smaller = torch.minimum(size_one, size_two)
    centre = ((two[:, :2] + two[:, 2:]) - (one[:, :2] + one[:, 2:])) / 2
    low, high = torch.maximum(one[:, :2], two[:, :2]), torch.minimum(one[:, 2:], two[:, 2:])
    gap = low - high
    shared = (-gap).clamp(min=0).prod(dim=1)
    area_one, area_two = size_one.prod(dim=1), size_two.prod(dim=1)
    ratios = torch.stack([shared / area_one, shared / area_two, shared / (area_one + area_two - shared)], dim=1)
    features = torch.cat(
        [
            centre,
            centre / smaller,
            gap,
            gap / smaller,
            (two[:, 2:] - one[:, 2:]) / smaller,
            (size_one / size_two).log(),
            ratios,
        ],
        dim=1,
    )
    return torch.sign(features) * features.abs().log1p()
