"""The pixel decoder: deformable self-attention over four scales, and mask features at a quarter of the image."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import nn
from torch.nn.functional import interpolate, relu

from sgforge_sam.semantic.deformable import DeformableAttention, Level, grid_sines

__all__ = ["PixelDecoder", "PixelSizes"]

_GROUPS = 32


@attrs.frozen(kw_only=True)
class PixelSizes:
    """Sizes of a pixel decoder: channels of the backbone's outputs, of itself, of masks; layers and what is in them."""

    backbone: tuple[int, ...]
    dim: int
    mask_dim: int
    layers: int
    hidden: int
    heads: int
    levels: int
    points: int


class _Layer(nn.Module):
    def __init__(self, sizes: PixelSizes) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(sizes.dim, sizes.heads, sizes.levels, sizes.points)
        self.norm1 = nn.LayerNorm(sizes.dim)
        self.linear1 = nn.Linear(sizes.dim, sizes.hidden)
        self.linear2 = nn.Linear(sizes.hidden, sizes.dim)
        self.norm2 = nn.LayerNorm(sizes.dim)

    def forward(
        self, values: torch.Tensor, position: torch.Tensor, reference: torch.Tensor, shapes: Sequence[Level]
    ) -> torch.Tensor:
        values = self.norm1(values + self.self_attn(values + position, reference, values, shapes))
        mixed: torch.Tensor = self.norm2(values + self.linear2(relu(self.linear1(values))))
        return mixed


class _Encoder(nn.Module):
    def __init__(self, sizes: PixelSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(sizes) for _ in range(sizes.layers))


class _Transformer(nn.Module):
    def __init__(self, sizes: PixelSizes) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.zeros(sizes.levels, sizes.dim))
        self.encoder = _Encoder(sizes)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps (B, C, H, W) of several scales to the same."""
        shapes: list[Level] = [(one.shape[2], one.shape[3]) for one in maps]
        values = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
        position = torch.cat(
            [
                grid_sines(shape, values.shape[-1], values.device) + embedding
                for shape, embedding in zip(shapes, self.level_embed, strict=True)
            ]
        )[None]
        reference = torch.cat([_centres(shape, values.device) for shape in shapes])[None].expand(len(values), -1, -1)
        for layer in self.encoder.layers:
            values = layer(values, position, reference, shapes)
        parts = values.split([height * width for height, width in shapes], dim=1)
        return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


def _centres(shape: Level, device: torch.device) -> torch.Tensor:
    """(H * W, 2) x, y of the middles of a map's pixels, in fractions of the map."""
    height, width = ((torch.arange(length, device=device) + 0.5) / length for length in shape)
    rows, columns = torch.meshgrid(height, width, indexing="ij")
    return torch.stack([columns, rows], dim=-1).flatten(0, 1)


class _ConvNorm(nn.Conv2d):
    """A convolution without bias and a group norm, its tensors side by side as in the checkpoints."""

    def __init__(self, given: int, dim: int, kernel: int) -> None:
        super().__init__(given, dim, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, dim)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(super().forward(values))
        return normed


class PixelDecoder(nn.Module):
    """From the backbone's four maps to four maps of one width, strides 8 to 64, and mask features of stride 4."""

    def __init__(self, sizes: PixelSizes) -> None:
        super().__init__()
        finest, *others = sizes.backbone
        projections = [(channels, 1, 1, 0) for channels in others]
        projections += [(others[-1], 3, 2, 1)] * (sizes.levels - len(others))
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(given, sizes.dim, kernel, stride, padding), nn.GroupNorm(_GROUPS, sizes.dim))
            for given, kernel, stride, padding in projections
        )
        self.transformer = _Transformer(sizes)
        self.adapter_1 = _ConvNorm(finest, sizes.dim, 1)
        self.layer_1 = _ConvNorm(sizes.dim, sizes.dim, 3)
        self.mask_features = nn.Conv2d(sizes.dim, sizes.mask_dim, 1)

    def forward(self, maps: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """(levels of strides 8, 16, 32, 64; mask features of stride 4)."""
        finest, *others = maps
        given = [*others, *[others[-1]] * (len(self.input_proj) - len(others))]
        levels = self.transformer([project(one) for project, one in zip(self.input_proj, given, strict=True)])
        fine = self.adapter_1(finest)
        fine = fine + interpolate(levels[0], fine.shape[-2:], mode="bilinear", align_corners=False)
        return levels, self.mask_features(relu(self.layer_1(fine)))
