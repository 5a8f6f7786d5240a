"""The mask-aware extractor: a region's mask and an image's feature maps to two tokens, what it is and where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from sgforge.errors import StepError
from sgforge_robin.model.names import EXTRACTOR
from sgforge_robin.model.tower import LEVELS

__all__ = ["MaskExtractor", "area_pooled", "pad_to_square"]


class MaskExtractor(nn.Module):
    """Features under a mask, summed over four levels, and the mask itself, each through linear layers.

    Call with `features`, {"res2" .. "res5"} maps (1, C, H, W) of one image, and `masks`, (N, h, w) of any number type,
    nonzero inside, of the same frame as the image. Returns mask tokens (N, out) and position tokens (N, out).

    Each cell of a level counts by the share of its area that the mask covers, so that a region of one pixel has its
    features. With `parity` masks are resized bilinearly without antialiasing and every cell above zero counts in full,
    in float32 whatever the weights are, as the released code does: a small region may then lose all its features, and
    its token is that of an empty mask.
    """

    def __init__(self, dims: tuple[int, ...], inner: int, out: int, mask_side: int = 112, parity: bool = False) -> None:
        super().__init__()
        self.mask_side = mask_side
        self.parity = parity
        for name, width in zip(LEVELS, dims, strict=True):
            self.add_module(name, nn.Linear(width, inner))
        self.feat_linear = nn.Linear(inner, out)
        self.mask_linear = nn.Module()
        self.mask_linear.layers = nn.ModuleList(
            [nn.Linear(mask_side**2, inner), nn.Linear(inner, inner), nn.Linear(inner, out)]
        )

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], parity: bool = False) -> Self:
        """An extractor with these weights, named with or without "mask_extractor."; other names are passed over."""
        prefix = EXTRACTOR if any(name.startswith(EXTRACTOR) for name in state) else ""
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        missing = [name for name in ("feat_linear.weight", "mask_linear.layers.0.weight") if name not in own]
        missing += [f"{level}.weight" for level in LEVELS if f"{level}.weight" not in own]
        if missing:
            raise StepError(f"these weights hold no mask extractor: {', '.join(missing)} missing")
        out, inner = own["feat_linear.weight"].shape
        dims = tuple(own[f"{level}.weight"].shape[1] for level in LEVELS)
        side = math.isqrt(own["mask_linear.layers.0.weight"].shape[1])
        made = cls(dims, inner, out, side, parity)
        expected = made.state_dict()
        absent = [name for name in expected if name not in own]
        wrong = [name for name, value in expected.items() if name in own and own[name].shape != value.shape]
        if absent or wrong:
            raise StepError(f"mask extractor: missing {absent or 'none'}, of another shape {wrong or 'none'}")
        made.to(own["feat_linear.weight"].dtype)
        made.load_state_dict({name: own[name] for name in expected})
        return made

    def forward(self, features: Mapping[str, Tensor], masks: Tensor) -> tuple[Tensor, Tensor]:
        return self._describe(self.pooled(features, masks)), self._place(masks)

    def pooled(self, features: Mapping[str, Tensor], masks: Tensor) -> dict[str, Tensor]:
        """The mean of each level under each mask, (N, C) float32; 0 under an empty mask."""
        self._check(features, masks)
        cover = None if self.parity else masks.float()
        means = {}
        for name in LEVELS:
            maps = features[name]
            grid = (maps.shape[2], maps.shape[3])
            if cover is None:
                weights = _binarised(masks, grid)
            else:
                cover = weights = area_pooled(cover, grid)
            means[name] = _weighted_mean(maps[0], weights, self.parity)
        return means

    def _check(self, features: Mapping[str, Tensor], masks: Tensor) -> None:
        """Say what is of another shape than is asked for."""
        if masks.dim() != 3:
            raise StepError(f"masks have the shape {tuple(masks.shape)}, not (N, h, w)")
        for name in LEVELS:
            width = self.get_submodule(name).in_features
            found = tuple(features[name].shape) if name in features else None
            if found is None:
                raise StepError(f"the features have no level {name}: {', '.join(LEVELS)} are asked for")
            if len(found) != 4 or found[:2] != (1, width):
                raise StepError(f"level {name} has the shape {found}, not (1, {width}, H, W): masks are of one image")

    def _describe(self, means: Mapping[str, Tensor]) -> Tensor:
        kept = self.feat_linear.weight.dtype
        if not self.parity:
            total = torch.stack([self.get_submodule(name)(mean.to(kept)) for name, mean in means.items()]).sum(dim=0)
            out: Tensor = self.feat_linear(total)
            return out
        parts = [_linear32(self.get_submodule(name), mean).to(kept) for name, mean in means.items()]
        return _linear32(self.feat_linear, torch.stack(parts).sum(dim=0).float())

    def _place(self, masks: Tensor) -> Tensor:
        grid = (self.mask_side, self.mask_side)
        values = _resized(masks, grid) if self.parity else area_pooled(masks.float(), grid)
        rows = values.flatten(1)
        for place, layer in enumerate(self.mask_linear.layers):
            rows = functional.relu(rows) if place else rows
            rows = _linear32(layer, rows) if self.parity else layer(rows.to(layer.weight.dtype))
        return rows


def area_pooled(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, h, w) float masks to the share in [0, 1] of each cell of `grid` that they cover, (N, *grid), exactly.

    From one grid to a coarser one that divides it the share is that from the masks themselves.
    """
    if masks.shape[1:] == grid:
        return masks
    rows, columns = (_overlaps(size, count, masks.device) for size, count in zip(masks.shape[1:], grid, strict=True))
    return torch.einsum("yh,nhx->nyx", rows, masks @ columns.T)


@lru_cache(64)
def _overlaps(size: int, count: int, device: torch.device) -> Tensor:
    """(count, size) share of each of `count` equal cells that each of `size` pixels covers; a row sums to 1."""
    step = size / count
    edges = torch.arange(count + 1, dtype=torch.float64, device=device) * step
    pixels = torch.arange(size, dtype=torch.float64, device=device)
    low = torch.maximum(edges[:-1, None], pixels[None])
    high = torch.minimum(edges[1:, None], pixels[None] + 1)
    return ((high - low).clamp(min=0) / step).float()


def pad_to_square(masks: Tensor) -> Tensor:
    """(N, h, w) masks in the frame of an image that was centred on a square canvas, (N, s, s) with s = max(h, w)."""
    height, width = masks.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return functional.pad(masks, (left, side - width - left, top, side - height - top))


def _resized(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    return functional.interpolate(masks.float()[:, None], grid, mode="bilinear", align_corners=False)[:, 0]


def _binarised(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    return (_resized(masks, grid) > 0).float()


def _weighted_mean(maps: Tensor, weights: Tensor, parity: bool) -> Tensor:
    """(C, H, W) maps and (N, H, W) weights to (N, C)."""
    flat = weights.flatten(1)
    total = flat.sum(dim=1, keepdim=True)
    shares = flat / (total + 1e-8) if parity else flat / total.clamp(min=torch.finfo(torch.float32).tiny)
    return shares @ maps.flatten(1).float().T


def _linear32(layer: nn.Module, values: Tensor) -> Tensor:
    """A linear layer reckoned in float32."""
    return functional.linear(values, layer.weight.float(), layer.bias.float())
