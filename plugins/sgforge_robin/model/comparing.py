"""The comparing layer: what regions share with each other, written into their tokens before words are made of them."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from sgforge_robin.model.shape import ComparingShape
from sgforge_robin.model.splice import RegionTokens

__all__ = ["ComparingLayer"]

_FIRST: Final = 0.02
"""The deviation of nobody's first key, as a language model's weights begin."""


class ComparingLayer(nn.Module):
    """Mask and position tokens (N, C) of one image to the same, each mask token with what its region shares. Ours.

    Every region looks at the others in several heads (attention of Vaswani et al. 2017, section 3.2.2), or at nobody:
    a learnt key that brings nothing. What comes from one it looks at is the product of both their projected features,
    which a language model's own attention cannot make, and where that one stands. An untrained layer changes nothing,
    and none ever changes a region without others. Regions in another order give the same tokens in that order.
    """

    def __init__(self, shape: ComparingShape, token: int) -> None:
        super().__init__()
        width = shape.width
        self.look = nn.LayerNorm(token)
        self.place = nn.LayerNorm(token)
        self.ask = nn.Linear(token, width)
        self.key = nn.Linear(token, width)
        self.nobody = nn.Parameter(_FIRST * torch.randn(shape.heads, width // shape.heads))
        self.feature = nn.Linear(token, width)
        self.where = nn.Linear(token, width)
        self.told = nn.Linear(2 * width, token, bias=False)
        nn.init.zeros_(self.told.weight)

    def forward(self, regions: RegionTokens) -> RegionTokens:
        looks, places = self.look(regions.mask), self.place(regions.pos)
        weights = self._weights(looks)
        own, where = self._split(self.feature(looks)), self._split(self.where(places))
        shared = own * (weights @ own)  # the weighted sum of products is the product with the weighted sum
        found = torch.cat([_joined(shared), _joined(weights @ where)], dim=1)
        return RegionTokens(regions.mask + self.told(found).to(regions.mask.dtype), regions.pos)

    def _weights(self, looks: Tensor) -> Tensor:
        """(heads, N, N): how much each region looks at each other one; what is left to 1 is nobody's."""
        asked, keys = self._split(self.ask(looks)), self._split(self.key(looks))
        itself = torch.eye(len(looks), dtype=torch.bool, device=looks.device)
        others = (asked @ keys.transpose(1, 2)).masked_fill(itself, float("-inf"))
        nobody = asked @ self.nobody[:, :, None].to(asked.dtype)
        scores = torch.cat([others, nobody], dim=2).float() * asked.shape[2] ** -0.5
        return scores.softmax(dim=2)[:, :, :-1].to(asked.dtype)

    def _split(self, values: Tensor) -> Tensor:
        """(N, width) to (heads, N, width / heads)."""
        return values.unflatten(1, (len(self.nobody), -1)).transpose(0, 1)


def _joined(values: Tensor) -> Tensor:
    """(heads, N, width / heads) to (N, width)."""
    return values.transpose(0, 1).flatten(1)
