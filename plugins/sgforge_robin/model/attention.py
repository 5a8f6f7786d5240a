"""Attention over a prefix that many rows share, and over what each row has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = ["SHARED", "Prefix", "SharedPrefixes", "attend"]

SHARED: Final = "robin_shared_prefix"
"""The name under which transformers knows this attention."""


@attrs.frozen(eq=False)
class Prefix:
    """What a prefix left in each layer: `keys` and `values`, (key heads, P, d) each."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """P, its positions."""
        return int(self.keys[0].shape[1])


@attrs.frozen(eq=False)
class SharedPrefixes:
    """The prefixes of a batch: rows `starts[i]` to `starts[i + 1]` go on from prefix i."""

    prefixes: Sequence[Prefix]
    starts: Sequence[int]


@attrs.frozen(eq=False)
class _Part:
    """Attention over some of the keys, not normalised: weighted values (..., d), peak and sum of the weights."""

    values: Tensor
    peak: Tensor
    total: Tensor

    @classmethod
    def of(cls, query: Tensor, keys: Tensor, values: Tensor, scaling: float, mask: Tensor | None = None) -> _Part:
        scores = (query @ keys.transpose(-1, -2)).float() * scaling
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        peak = scores.amax(dim=-1, keepdim=True)
        weights = (scores - peak).exp()
        return cls((weights.to(values.dtype) @ values).float(), peak, weights.sum(dim=-1, keepdim=True))


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared: SharedPrefixes | None = None,
    **given: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as transformers calls it: `query` (B, H, T, d), `key` and `value` (B, key heads, S, d).

    With `shared`, every row also looks at its prefix, whose keys are held once however many rows share it;
    `attention_mask` (B, 1, T, S) is then over the row's own keys. Without it, plain scaled dot-product attention.
    """
    if shared is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **given)
    rows, heads, length, width = query.shape
    groups = heads // key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    folded = query.reshape(rows, key.shape[1], groups * length, width)
    mask = None if attention_mask is None else attention_mask.repeat(1, 1, groups, 1)
    own = _Part.of(folded, key, value, scale, mask)
    before = _over_prefixes(folded, shared, int(module.layer_idx), scale)
    peak = torch.maximum(own.peak, before.peak)
    left, right = (own.peak - peak).exp(), (before.peak - peak).exp()
    mixed = (own.values * left + before.values * right) / (own.total * left + before.total * right)
    out = mixed.to(query.dtype).reshape(rows, heads, length, width)
    return out.transpose(1, 2).contiguous(), None


def _over_prefixes(query: Tensor, shared: SharedPrefixes, layer: int, scale: float) -> _Part:
    """Attention of all rows, (B, key heads, Q, d), each over its own prefix."""
    parts = []
    for place, prefix in enumerate(shared.prefixes):
        rows = query[shared.starts[place] : shared.starts[place + 1]]
        count, heads, length, width = rows.shape
        flat = rows.transpose(0, 1).reshape(heads, count * length, width)
        part = _Part.of(flat, prefix.keys[layer], prefix.values[layer], scale)
        parts.append([_unfolded(one, count, length) for one in (part.values, part.peak, part.total)])
    return _Part(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _unfolded(values: Tensor, count: int, length: int) -> Tensor:
    """(key heads, rows * Q, c) to (rows, key heads, Q, c)."""
    return values.reshape(values.shape[0], count, length, -1).transpose(0, 1)


AttentionInterface.register(SHARED, attend)
AttentionMaskInterface.register(SHARED, sdpa_mask)
