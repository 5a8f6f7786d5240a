"""Masks as bits: every row of a frame padded to 64-bit words, bit k of word w standing for column 64 * w + k."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgforge.masks.runs import Columns, Ints, Spans, merge

__all__ = ["Words", "pack", "spans_of", "unpack", "words_of"]

Words: TypeAlias = NDArray[np.uint64]

_CHUNK_WORDS = 1 << 19  # 4 MB of bits a step: stays in cache, and bounds the memory of masks that are all edges


def pack(arrays: NDArray[np.bool_]) -> Words:
    """(N, H, W) booleans to (N, H, ceil(W / 64)) words."""
    size, height, width = arrays.shape
    if width % 8 == 0:  # rows end on a byte: one long run packs faster than many short ones
        packed = np.packbits(arrays.reshape(-1), bitorder="little").reshape(size, height, width // 8)
    else:
        packed = np.packbits(arrays, axis=-1, bitorder="little")
    padded = -(-width // 64) * 8
    if packed.shape[-1] != padded:
        wide = np.zeros((size, height, padded), np.uint8)
        wide[:, :, : packed.shape[-1]] = packed
        packed = wide
    return packed.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words, width: int) -> NDArray[np.bool_]:
    """(N, H, words) to (N, H, width) booleans."""
    if not words.size:
        return np.zeros((*words.shape[:2], width), np.bool_)
    data = np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(data, axis=-1, count=width, bitorder="little").view(np.bool_)


def spans_of(words: Words) -> Spans:
    """Column-major spans of packed masks (N, H, words)."""
    size, height, per_row = words.shape
    step = max(1, _CHUNK_WORDS // max(1, (height + 1) * per_row))
    parts = [_edges(words[begin : begin + step], begin) for begin in range(0, size, step)]
    keys = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    column, row = np.divmod(keys, height + 1)
    item, x = np.divmod(column, per_row * 64)
    position = x * height + row
    return merge(Spans(size, item[0::2], position[0::2], position[1::2]))


def _edges(words: Words, first_item: int) -> Ints:
    """Sorted keys (item, column, row) of the rows at which a column's pixels change; they alternate on and off."""
    size, height, per_row = words.shape
    edges = np.zeros((size, height + 1, per_row), np.uint64)
    edges[:, :height] = words
    edges[:, 1:] ^= words
    flat = edges.reshape(-1)
    where = np.flatnonzero(flat)
    data = flat[where].astype("<u8", copy=False).view(np.uint8).reshape(-1, 8)
    source, bit = np.nonzero(np.unpackbits(data, axis=1, bitorder="little"))
    line, word = np.divmod(where[source], per_row)
    item, row = np.divmod(line, height + 1)
    keys: Ints = (((item + first_item) * per_row + word) * 64 + bit) * (height + 1) + row
    keys.sort()
    return keys


def words_of(columns: Columns, size: int, height: int, width: int) -> Words:
    """Packed masks (size, height, words) of column pieces; inverse of `spans_of`."""
    per_row = -(-width // 64)
    edges = np.zeros((size, height + 1, per_row), np.uint64)
    word = columns.x >> 6
    bit = np.left_shift(np.uint64(1), (columns.x & 63).astype(np.uint64))
    line = columns.item * (height + 1)
    flat = edges.reshape(-1)
    np.bitwise_xor.at(flat, (line + columns.top) * per_row + word, bit)
    np.bitwise_xor.at(flat, (line + columns.bottom) * per_row + word, bit)
    # A loop over rows runs along memory; `accumulate` on the middle axis would stride through it.
    for row in range(1, height):
        edges[:, row] ^= edges[:, row - 1]
    return edges[:, :height]
