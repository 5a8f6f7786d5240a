"""The prompt decoder: six masks of rising detail for each point or box."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs
import torch
from torch import nn
from torch.nn.functional import relu

from sgforge_sam.semantic.deformable import DeformableAttention, Level, sines

__all__ = ["PromptDecoder", "PromptSizes"]

_EPS = 1e-5


@attrs.frozen(kw_only=True)
class PromptSizes:
    """Sizes of a prompt decoder: its width, that of masks, masks a prompt, layers and what is in them."""

    dim: int
    mask_dim: int
    tokens: int
    layers: int
    hidden: int
    heads: int
    levels: int
    points: int


class _Mlp(nn.Module):
    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(given, made) for given, made in pairwise(widths))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        *inner, last = self.layers
        for layer in inner:
            values = relu(layer(values))
        made: torch.Tensor = last(values)
        return made


class _Layer(nn.Module):
    def __init__(self, sizes: PromptSizes) -> None:
        super().__init__()
        self.cross_attn = DeformableAttention(sizes.dim, sizes.heads, sizes.levels, sizes.points)
        self.norm1 = nn.LayerNorm(sizes.dim)
        self.self_attn = nn.MultiheadAttention(sizes.dim, sizes.heads, batch_first=True)
        self.norm2 = nn.LayerNorm(sizes.dim)
        self.linear1 = nn.Linear(sizes.dim, sizes.hidden)
        self.linear2 = nn.Linear(sizes.hidden, sizes.dim)
        self.norm3 = nn.LayerNorm(sizes.dim)

    def forward(
        self,
        values: torch.Tensor,
        position: torch.Tensor,
        reference: torch.Tensor,
        memory: torch.Tensor,
        shapes: Sequence[Level],
    ) -> torch.Tensor:
        """(G, Q, C) to the same: queries see one another within each of G groups, and all see the one image."""
        query = values + position
        values = self.norm2(values + self.self_attn(query, query, values, need_weights=False)[0])
        seen = (values + position).flatten(0, 1)[None]
        crossed = self.cross_attn(seen, reference.flatten(0, 1)[None], memory, shapes)
        values = self.norm1(values + crossed.view(values.shape))
        mixed: torch.Tensor = self.norm3(values + self.linear2(relu(self.linear1(values))))
        return mixed


class _Decoder(nn.Module):
    def __init__(self, sizes: PromptSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(sizes) for _ in range(sizes.layers))
        self.ref_point_head = _Mlp(2 * sizes.dim, sizes.dim, sizes.dim)


class PromptDecoder(nn.Module):
    """Mask embeddings and predicted IoUs for prompts on one image."""

    def __init__(self, sizes: PromptSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.decoder = _Decoder(sizes)
        self.decoder_norm = nn.LayerNorm(sizes.dim)
        self._bbox_embed = _Mlp(sizes.dim, sizes.dim, sizes.dim, 4)
        self.mask_embed = _Mlp(sizes.dim, sizes.dim, sizes.dim, sizes.mask_dim)
        self.iou_prediction_head = _Mlp(sizes.dim, sizes.dim, sizes.dim, 1)
        self.mask_tokens = nn.Embedding(sizes.tokens, sizes.dim)
        self.pb_embedding = nn.Embedding(2, sizes.dim)
        self.label_enc = nn.Embedding(2, sizes.dim)

    def forward(
        self, levels: Sequence[torch.Tensor], boxes: torch.Tensor, kinds: torch.Tensor, *, apart: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(mask embeddings (P, T, mask_dim), predicted IoU (P, T)) of P prompts.

        `levels`: maps (1, C, H, W), finest first. `boxes` (P, 4): cx, cy, w, h in fractions of the padded image.
        `kinds` (P,): 0 a point, 1 a box. `apart`: no prompt sees another, as in training; else all see all, as in the
        released inference, and a result depends on the prompts beside it.
        """
        coarse_first = list(reversed(levels))
        shapes: list[Level] = [(one.shape[2], one.shape[3]) for one in coarse_first]
        memory = torch.cat([one.flatten(2).transpose(1, 2) for one in coarse_first], dim=1)
        prompts, tokens = len(boxes), self.sizes.tokens
        values = self.label_enc.weight[0] + self.pb_embedding(kinds)[:, None] + self.mask_tokens.weight
        reference = _inverse_sigmoid(boxes).sigmoid()[:, None].expand(prompts, tokens, 4)
        if not apart:
            values, reference = values.flatten(0, 1)[None], reference.flatten(0, 1)[None]
        for layer in self.decoder.layers:
            position = self.decoder.ref_point_head(self._embedded(reference))
            values = layer(values, position, reference, memory, shapes)
            reference = (self._bbox_embed(values) + _inverse_sigmoid(reference)).sigmoid()
        # Twice: the layer's output is normalised where it is collected, and again in front of the heads.
        final = self.decoder_norm(self.decoder_norm(values)).view(prompts, tokens, -1)
        return self.mask_embed(final), self.iou_prediction_head(final)[..., 0]

    def _embedded(self, reference: torch.Tensor) -> torch.Tensor:
        x, y, width, height = reference.unbind(-1)
        return torch.cat([sines(one, self.sizes.dim // 2) for one in (y, x, width, height)], dim=-1)


def _inverse_sigmoid(values: torch.Tensor) -> torch.Tensor:
    inside = values.clamp(0, 1)
    return torch.log(inside.clamp(min=_EPS) / (1 - inside).clamp(min=_EPS))
