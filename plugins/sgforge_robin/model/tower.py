"""The vision tower: a ConvNeXt, every stage's output kept."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sgforge_robin.model.shape import TowerShape

__all__ = ["LEVELS", "ConvNeXt"]

LEVELS: Final = ("res2", "res3", "res4", "res5")
"""The outputs of the four stages, at strides 4, 8, 16 and 32."""
_EPS: Final = 1e-6


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a (B, C, H, W) map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPS)

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int, out: int, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out, bias=bias)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(values)))
        return out


class _Block(nn.Module):
    """Depthwise 7x7, layer norm, two linear layers with a GELU, scaled, added (ConvNeXt, figure 4).

    From scratch the scale starts at 0.1 (the paper: 1e-6, for 300 epochs).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.mlp = _Mlp(width, 4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, maps: Tensor) -> Tensor:
        rows = self.mlp(self.norm(self.conv_dw(maps).permute(0, 2, 3, 1))) * self.gamma
        return maps + rows.permute(0, 3, 1, 2)


class _Stage(nn.Module):
    def __init__(self, before: int | None, width: int, depth: int) -> None:
        super().__init__()
        if before is not None:
            self.downsample = nn.Sequential(_ChannelNorm(before), nn.Conv2d(before, width, 2, 2))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))

    def forward(self, maps: Tensor) -> Tensor:
        if hasattr(self, "downsample"):
            maps = self.downsample(maps)
        out: Tensor = self.blocks(maps)
        return out


class _Trunk(nn.Module):
    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, shape.dims[0], 4, 4), _ChannelNorm(shape.dims[0]))
        widths = (None, *shape.dims)
        self.stages = nn.ModuleList(
            _Stage(before, width, depth) for before, width, depth in zip(widths, shape.dims, shape.depths, strict=False)
        )
        if shape.head is not None:
            self.head = nn.Module()
            self.head.norm = nn.LayerNorm(shape.dims[-1], eps=_EPS)


class ConvNeXt(nn.Module):
    """(B, 3, S, S) images to {"stem", "res2" .. "res5"}: maps (B, C, S / stride, S / stride) (ConvNeXt, section 2).

    The CLIP head of a public checkpoint is kept with its weights, unused: no gradient reaches it.
    """

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.trunk = _Trunk(shape)
        if shape.head is not None:
            self.head = nn.Module()
            self.head.mlp = _Mlp(shape.dims[-1], *shape.head, bias=False)
        self.freeze_head()

    def freeze_head(self) -> None:
        """Ask for no gradient of the CLIP head, which nothing uses."""
        for module in (self, self.trunk):
            if hasattr(module, "head"):
                module.head.requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.is_cuda:  # its depthwise kernels, and the linear layers behind them, want the channels last
            images = images.contiguous(memory_format=torch.channels_last)
        maps = self.trunk.stem(images)
        levels = {"stem": maps}
        for name, stage in zip(LEVELS, self.trunk.stages, strict=True):
            maps = stage(maps)
            levels[name] = maps
        return levels
