"""Attention over a prefix that many rows or branches share, and over what each has of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import attrs
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = ["SHARED", "Branches", "Document", "Documents", "Prefix", "SharedPrefixes", "attend", "block_mask"]

SHARED: Final = "robin_shared_prefix"
"""The name under which transformers knows this attention."""


@attrs.frozen(eq=False)
class Prefix:
    """What a prefix left in each layer: `keys` and `values`, (key heads, P, d) each.

    `named`: what is added to words behind it that are about a region, as in `RegionTokens`.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    named: Tensor | None = None

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
class Document:
    """A document of a packed row: a prefix from position `start` up to `cut`, its branches from there up to `stop`."""

    start: int
    cut: int
    stop: int


@attrs.frozen(eq=False)
class Branches:
    """N branches of a row, of nearly one length: `places` (N, T), their positions in the row, those of padding being
    anywhere; `real` (N, T) bool.
    """

    places: Tensor
    real: Tensor


@attrs.frozen(eq=False)
class Documents:
    """A packed row: its `documents`, one behind another and nothing else, and all their branches, sorted by length.

    `order` (K,): where the K positions of branches, as they come in the row, stand among the real ones of `branches`.
    """

    documents: Sequence[Document]
    branches: Sequence[Branches]
    order: Tensor

    def to(self, device: torch.device) -> Documents:
        """The same on a device."""
        moved = [Branches(one.places.to(device), one.real.to(device)) for one in self.branches]
        return Documents(self.documents, moved, self.order.to(device))


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
        peak = scores.detach().amax(dim=-1, keepdim=True)
        weights = (scores - peak).exp()
        return cls((weights.to(values.dtype) @ values).float(), peak, weights.sum(dim=-1, keepdim=True))

    def at(self, index: Any) -> _Part:
        """Some of it."""
        return _Part(self.values[index], self.peak[index], self.total[index])

    def by_position(self, length: int) -> _Part:
        """Of folded queries, (..., key heads, H / key heads * T, w) as T is `length`: (..., T, H, w)."""
        return _Part(*(_by_position(one, length) for one in (self.values, self.peak, self.total)))

    def joined(self, other: _Part) -> Tensor:
        """Attention over the keys of both, normalised."""
        peak = torch.maximum(self.peak, other.peak)
        left, right = (self.peak - peak).exp(), (other.peak - peak).exp()
        return (self.values * left + other.values * right) / (self.total * left + other.total * right)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared: SharedPrefixes | None = None,
    documents: Documents | None = None,
    blocks: BlockMask | None = None,
    **given: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as transformers calls it: `query` (B, H, T, d), `key` and `value` (B, key heads, S, d).

    With `shared`, every row also looks at its prefix, whose keys are held once however many rows share it;
    `attention_mask` (B, 1, T, S) is then over the row's own keys. With `documents`, the one row holds these and nothing
    else, and no mask is read; with `blocks` it attends in blocks of such a mask. Without any, plain scaled dot-product
    attention.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if blocks is not None:
        return _in_blocks(query, key, value, blocks, scale), None
    if documents is not None:
        return _over_documents(module, (query, key, value), documents, scale, given), None
    if shared is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **given)
    folded, mask = _folded(query, key.shape[1]), None
    if attention_mask is not None:
        mask = attention_mask.repeat(1, 1, query.shape[1] // key.shape[1], 1)
    own = _Part.of(folded, key, value, scale, mask)
    out = own.joined(_over_prefixes(folded, shared, int(module.layer_idx), scale))
    return out.to(query.dtype).reshape(query.shape).transpose(1, 2).contiguous(), None


def block_mask(start: Tensor, cut: Tensor, begin: Tensor) -> BlockMask:
    """The blocks of a packed row's mask that hold anything.

    Each of L positions sees itself and what lies before it from `start` up to `cut`, and from `begin` on, (L,)
    integers: of the key its place alone is read, which the kernel knows.
    """

    def allowed(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        before = (key >= start[query]) & (key < cut[query])
        return (before | (key >= begin[query])) & (query >= key)

    start, cut, begin = start.int(), cut.int(), begin.int()
    make = _compiled(create_block_mask) if start.is_cuda else create_block_mask
    found: BlockMask = make(allowed, None, None, len(start), len(start), device=start.device)
    return found


def _in_blocks(query: Tensor, key: Tensor, value: Tensor, blocks: BlockMask, scale: float) -> Tensor:
    """(B, L, H, d): attention that skips the blocks in which nobody sees anybody."""
    attention = _compiled(flex_attention) if query.is_cuda and not torch.compiler.is_compiling() else flex_attention
    out: Tensor = attention(query, key, value, block_mask=blocks, scale=scale, enable_gqa=True)
    return out.transpose(1, 2).contiguous()


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """It as one kernel, compiled once: as they stand, these functions make all L x L entries."""
    found: Callable[..., Any] = torch.compile(function, dynamic=False)
    return found


def _folded(query: Tensor, heads: int) -> Tensor:
    """(B, H, T, d) to (B, key heads, H / key heads * T, d): queries that share keys stand in one matrix."""
    return query.reshape(query.shape[0], heads, -1, query.shape[-1])


def _over_prefixes(query: Tensor, shared: SharedPrefixes, layer: int, scale: float) -> _Part:
    """Attention of all rows, (B, key heads, Q, d), each over its own prefix."""
    parts = [
        _over_prefix(
            query[shared.starts[place] : shared.starts[place + 1]], prefix.keys[layer], prefix.values[layer], scale
        )
        for place, prefix in enumerate(shared.prefixes)
    ]
    return _joined(parts)


def _over_prefix(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> _Part:
    """Attention of (N, key heads, Q, d) queries over one prefix, (key heads, P, d), as one product a head."""
    count, heads, length, width = query.shape
    part = _Part.of(query.transpose(0, 1).reshape(heads, count * length, width), keys, values, scale)
    back = (one.reshape(heads, count, length, -1).transpose(0, 1) for one in (part.values, part.peak, part.total))
    return _Part(*back)


def _over_documents(
    module: nn.Module, given: tuple[Tensor, Tensor, Tensor], row: Documents, scale: float, options: dict[str, Any]
) -> Tensor:
    """(1, L, H, d): each prefix looks back within itself, each branch at its prefix and back within itself."""
    query, key, value = given
    within = _over_branches(given, row, scale)
    pieces: list[Tensor] = []
    done = 0
    for one in row.documents:
        prefix = slice(one.start, one.cut)
        own = [part[:, :, prefix] for part in given]
        pieces.append(sdpa_attention_forward(module, *own, None, scaling=scale, **options)[0][0])
        count = one.stop - one.cut
        if count:
            folded = _folded(query[:, :, one.cut : one.stop], key.shape[1])[0]
            before = _Part.of(folded, key[0, :, prefix], value[0, :, prefix], scale)
            joined = before.by_position(count).joined(within.at(slice(done, done + count)))
            pieces.append(joined.to(query.dtype))
            done += count
    return torch.cat(pieces)[None]


def _over_branches(given: tuple[Tensor, Tensor, Tensor], row: Documents, scale: float) -> _Part:
    """Attention of branches within themselves, (K, H, ...), as they come in the row."""
    parts = []
    for group in row.branches:
        query, key, value = (one[0][:, group.places].transpose(0, 1) for one in given)  # (N, heads, T, d)
        length = query.shape[2]
        back = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
        mask = (back & group.real[:, None]) | torch.eye(length, dtype=torch.bool, device=query.device)
        mask = mask[:, None].repeat(1, 1, query.shape[1] // key.shape[1], 1)
        part = _Part.of(_folded(query, key.shape[1]), key, value, scale, mask)
        parts.append(part.by_position(length).at(group.real))
    return _joined(parts).at(row.order)


def _joined(parts: Sequence[_Part]) -> _Part:
    """All rows of these, one behind another."""
    columns = ([part.values for part in parts], [part.peak for part in parts], [part.total for part in parts])
    return _Part(*(torch.cat(column) for column in columns))


def _by_position(folded: Tensor, length: int) -> Tensor:
    return folded.reshape(*folded.shape[:-3], -1, length, folded.shape[-1]).transpose(-2, -3)


AttentionInterface.register(SHARED, attend)
AttentionMaskInterface.register(SHARED, sdpa_mask)
