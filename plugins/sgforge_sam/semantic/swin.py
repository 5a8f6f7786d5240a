"""The Swin Transformer backbone (Liu et al. 2021): windows padded and shifted as in its dense-prediction form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention

__all__ = ["Swin"]


class _WindowAttention(nn.Module):
    """Attention within windows of `window` x `window`, with a bias for each relative position and head."""

    relative_position_index: torch.Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = places[:, :, None] - places[:, None, :] + window - 1
        self.register_buffer("relative_position_index", apart[0] * (2 * window - 1) + apart[1], persistent=False)

    def forward(self, windows: torch.Tensor, penalty: torch.Tensor | None) -> torch.Tensor:
        """(B * W, N, C) windows, image-major; `penalty` (W, N, N) is added to the attention of each pair."""
        number, length, _ = windows.shape
        query, key, value = self.qkv(windows).view(number, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if penalty is not None:
            bias = (bias + penalty[:, None]).repeat(number // len(penalty), 1, 1, 1)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.fc2(gelu(self.fc1(values)))
        return mixed


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, window: int, shift: int, hidden: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = _WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = _Mlp(dim, hidden)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to the same."""
        values = values + self._attended(self.norm1(values))
        mixed: torch.Tensor = values + self.mlp(self.norm2(values))
        return mixed

    def _attended(self, values: torch.Tensor) -> torch.Tensor:
        batch, height, width, dim = values.shape
        window, shift = self.window, self.shift
        padded = pad(values, (0, 0, 0, -width % window, 0, -height % window))
        rows, columns = padded.shape[1] // window, padded.shape[2] // window
        rolled = padded.roll((-shift, -shift), (1, 2)) if shift else padded
        windows = rolled.view(batch, rows, window, columns, window, dim).transpose(2, 3).reshape(-1, window**2, dim)
        penalty = _penalty(rows, columns, window, shift, values.device) if shift else None
        mixed = self.attn(windows, penalty).view(batch, rows, columns, window, window, dim)
        whole = mixed.transpose(2, 3).reshape(padded.shape)
        whole = whole.roll((shift, shift), (1, 2)) if shift else whole
        return whole[:, :height, :width]


def _penalty(rows: int, columns: int, window: int, shift: int, device: torch.device) -> torch.Tensor:
    """(rows * columns, N, N): -100 for pixels that shifting brought into one window from opposite ends of the image."""
    bands = []
    for number in (rows, columns):
        band = torch.zeros(number * window, dtype=torch.int64, device=device)
        band[-window:-shift] = 1
        band[-shift:] = 2
        bands.append(band.view(number, window))
    origin = 3 * bands[0][:, None, :, None] + bands[1][None, :, None, :]
    origin = origin.reshape(rows * columns, window**2)
    return (origin[:, :, None] != origin[:, None, :]) * -100.0


class _Merging(nn.Module):
    """Each 2 x 2 neighbours become one, with twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = pad(values, (0, 0, 0, values.shape[2] % 2, 0, values.shape[1] % 2))
        four = [values[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        merged: torch.Tensor = self.reduction(self.norm(torch.cat(four, dim=-1)))
        return merged


class _Stage(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, window: int, hidden: int, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(dim, heads, window, window // 2 if index % 2 else 0, hidden) for index in range(depth)
        )
        self.downsample = _Merging(dim) if merges else None


class _Patches(nn.Module):
    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)


class Swin(nn.Module):
    """Four stages of strides 4, 8, 16, 32; each output is normalised."""

    def __init__(
        self, dim: int, depths: Sequence[int], heads: Sequence[int], window: int, ratio: int, patch: int
    ) -> None:
        super().__init__()
        self.patch_embed = _Patches(dim, patch)
        dims = [dim * 2**stage for stage in range(len(depths))]
        last = len(depths) - 1
        self.layers = nn.ModuleList(
            _Stage(dims[stage], depths[stage], heads[stage], window, ratio * dims[stage], merges=stage < last)
            for stage in range(len(depths))
        )
        for stage, width in enumerate(dims):
            self.add_module(f"norm{stage}", nn.LayerNorm(width))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, H, W), sides multiples of 32, to (B, C, H / s, W / s) for the four strides s."""
        values = self.patch_embed.norm(self.patch_embed.proj(images).permute(0, 2, 3, 1))
        outputs = []
        for place, stage in enumerate(self.layers):
            for block in stage.blocks:
                values = block(values)
            outputs.append(self.get_submodule(f"norm{place}")(values).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                values = stage.downsample(values)
        return outputs
