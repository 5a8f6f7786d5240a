"""Deformable attention (Zhu et al. 2020) by bilinear sampling, and sine embeddings of positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import grid_sample

__all__ = ["DeformableAttention", "Level", "grid_sines", "sines"]

Level = tuple[int, int]
"""(height, width) of one level of features."""


class DeformableAttention(nn.Module):
    """Each query looks at `points` places on each of `levels` feature maps, per head."""

    def __init__(self, dim: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)

    def forward(
        self, query: torch.Tensor, reference: torch.Tensor, memory: torch.Tensor, shapes: Sequence[Level]
    ) -> torch.Tensor:
        """Attended values (B, Q, C).

        `query` (B, Q, C); `reference` (B, Q, 2) points x, y or (B, Q, 4) boxes cx, cy, w, h, in fractions of the
        picture; `memory` (B, sum of H * W, C), the levels of `shapes` one after another.
        """
        batch, number, _ = query.shape
        shape = (batch, number, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).view(*shape, 2)
        weights = self.attention_weights(query).view(*shape[:3], -1).softmax(-1).view(shape)
        if reference.shape[-1] == 2:
            sizes = torch.tensor([[width, height] for height, width in shapes], device=query.device, dtype=query.dtype)
            places = reference[:, :, None, None, None] + offsets / sizes[:, None]
        else:
            half = reference[:, :, None, None, None, 2:] * 0.5
            places = reference[:, :, None, None, None, :2] + offsets / self.points * half
        sampled = self._sampled(self.value_proj(memory), places, weights, shapes)
        projected: torch.Tensor = self.output_proj(sampled)
        return projected

    def _sampled(
        self, values: torch.Tensor, places: torch.Tensor, weights: torch.Tensor, shapes: Sequence[Level]
    ) -> torch.Tensor:
        """The weighted sum (B, Q, C) of the values at the places (B, Q, heads, levels, points, 2)."""
        batch, number = places.shape[:2]
        grids = (2 * places - 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # (B * heads, levels, Q, points, 2)
        shares = weights.permute(0, 2, 3, 1, 4).flatten(0, 1)[:, :, None]
        total = values.new_zeros(())
        begin = 0
        for level, (height, width) in enumerate(shapes):
            part = values[:, begin : begin + height * width].transpose(1, 2)
            begin += height * width
            maps = part.reshape(batch * self.heads, -1, height, width)
            found = grid_sample(maps, grids[:, level], mode="bilinear", padding_mode="zeros", align_corners=False)
            total = total + (found * shares[:, level]).sum(-1)
        return total.view(batch, -1, number).transpose(1, 2)


def _waves(dims: int, device: torch.device) -> torch.Tensor:
    place = torch.arange(dims, device=device, dtype=torch.float32)
    return 10_000 ** (2 * torch.div(place, 2, rounding_mode="floor") / dims)


def sines(positions: torch.Tensor, dims: int) -> torch.Tensor:
    """(..., ) positions, in turns from 0 to 1, to (..., dims): sine and cosine at falling frequencies, in turn."""
    angles = (positions * 2 * math.pi)[..., None] / _waves(dims, positions.device)
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)


def grid_sines(shape: Level, dim: int, device: torch.device) -> torch.Tensor:
    """(H * W, dim) embeddings of a map's places: half the channels for y, then half for x."""
    along = [sines(torch.arange(1, length + 1, device=device) / (length + 1e-6), dim // 2) for length in shape]
    height, width = shape
    rows = along[0][:, None].expand(height, width, -1)
    columns = along[1][None].expand(height, width, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)
