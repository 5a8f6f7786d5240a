"""An image with its regions, encoded once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from sgforge_robin.model.attention import Prefix
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.splice import RegionTokens
from sgforge_robin.model.tower import LEVELS

__all__ = ["encode_prefix", "see", "see_regions"]


@torch.no_grad()
def see(model: RobinModel, pixels: Tensor) -> dict[str, Tensor]:
    """The tower's levels for one image, (3, S, S)."""
    device = model.table.weight.device
    levels: dict[str, Tensor] = model.tower(pixels[None].to(device, model.dtype))
    return levels


@torch.no_grad()
def see_regions(model: RobinModel, features: dict[str, Tensor], masks: Tensor | None) -> RegionTokens | None:
    """The tokens of an image's regions, from its features and their masks (N, h, w)."""
    return model.region_tokens({name: features[name] for name in LEVELS}, masks)


@torch.no_grad()
def encode_prefix(
    model: RobinModel, features: dict[str, Tensor], regions: RegionTokens | None, ids: Sequence[int], where: str
) -> Prefix:
    """The prefix of one image: its features, its regions' tokens, its ids with the image's placeholder."""
    image = model.image_tokens(features["res4"])[0]
    regions = model.introduced(regions, ids)
    row = model.row(torch.tensor(ids), None, image, regions, where)
    cache = DynamicCache()
    model.language.base_model(inputs_embeds=row.embeds[None], past_key_values=cache, use_cache=True)
    return Prefix(
        keys=tuple(layer.keys[0] for layer in cache.layers),
        values=tuple(layer.values[0] for layer in cache.layers),
        named=None if regions is None else regions.named,
    )
