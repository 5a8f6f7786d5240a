"""Unpacking chunks that a stranger may have packed: what a header claims is checked before C code follows it.

A Blosc 1 chunk begins with 16 bytes (c-blosc's README_CHUNK_FORMAT): version, version of the packing's format, flags,
size of an item, and as 32-bit numbers the bytes unpacked, of a block, and of the chunk. Then follows where each block
begins; a block is one or as many streams as an item has bytes, each after its length. A zstd frame (RFC 8878, 3.1.1)
says its size behind a magic number and a byte of flags.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numcodecs import blosc, zstd

__all__ = ["most_packed", "unpack_blosc", "unpack_zstd"]

_HEADER: Final = struct.Struct("<BBBBiii")
_NUMBER: Final = struct.Struct("<i")
_BLOSC_VERSION: Final = 2
_ZSTD_VERSION: Final = 1
_ZSTD_FORMAT: Final = 4
_BYTE_SHUFFLE, _COPIED, _BIT_SHUFFLE, _RESERVED, _WHOLE_BLOCKS = 1, 2, 4, 8, 16
_USUAL: Final = struct.Struct("<BBBBiiiii")
_USUAL_FLAGS: Final = tuple(_ZSTD_FORMAT << 5 | _WHOLE_BLOCKS | shuffle for shuffle in (0, _BYTE_SHUFFLE, _BIT_SHUFFLE))
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


def most_packed(size: int) -> int:
    """Bytes that a chunk of `size` bytes has at most when it is packed, by far: beyond it only fills the memory."""
    return size + size // 8 + 1024


def unpack_blosc(packed: np.ndarray, out: np.ndarray) -> None:
    """Unpack a Blosc chunk of zstd streams to `out`, all of it; one that claims anything else is a `ValueError`."""
    if not _is_usual(packed, out):
        _check_blosc(packed, out)
    blosc.decompress(packed, out)


def unpack_zstd(packed: np.ndarray, out: np.ndarray) -> None:
    """Unpack a zstd frame to `out`, all of it; one of another size is a `ValueError`."""
    size = _zstd_size(packed[:18].tobytes())
    if size != out.nbytes:
        raise ValueError(f"it says that it holds {size} bytes, it must be {out.nbytes}")
    zstd.decompress(packed, out)


def _is_usual(packed: np.ndarray, out: np.ndarray) -> bool:
    """Whether a chunk is one block of one stream and all it says of itself is right, at a fraction of the price."""
    length = len(packed)
    if length < _USUAL.size:
        return False
    version, form, flags, itemsize, size, block, told, begin, stream = _USUAL.unpack_from(packed.data)
    return (
        (version, form, itemsize, told, begin) == (_BLOSC_VERSION, _ZSTD_VERSION, out.itemsize, length, _USUAL.size - 4)
        and flags in _USUAL_FLAGS
        and size == block == out.nbytes
        and 0 < stream <= length - _USUAL.size
    )


def _check_blosc(packed: np.ndarray, out: np.ndarray) -> None:
    if len(packed) < _HEADER.size:
        raise ValueError("it is shorter than a header of Blosc")
    version, format_version, flags, itemsize, size, block, length = _HEADER.unpack_from(packed.data)
    if (version, format_version, flags >> 5) != (_BLOSC_VERSION, _ZSTD_VERSION, _ZSTD_FORMAT):
        raise ValueError("it is no Blosc 1 chunk of zstd")
    shuffles = flags & (_BYTE_SHUFFLE | _BIT_SHUFFLE)
    if flags & _RESERVED or shuffles == _BYTE_SHUFFLE | _BIT_SHUFFLE or itemsize != out.itemsize:
        raise ValueError(f"its flags are {flags:#04x} with items of {itemsize} bytes, these are of {out.itemsize}")
    if (size, length) != (out.nbytes, len(packed)) or not 0 < block <= size:
        raise ValueError(
            f"it says {length} bytes for {size} in blocks of {block}, it has {len(packed)} for {out.nbytes}"
        )
    if flags & _COPIED:
        if length != size + _HEADER.size:
            raise ValueError("a copy of another length than what it copies")
        return
    _check_streams(packed, block, out.nbytes, 1 if flags & _WHOLE_BLOCKS else itemsize)


def _check_streams(packed: np.ndarray, block: int, size: int, split: int) -> None:
    """Follow every stream of every block: all must lie within the chunk, behind where it says they begin."""
    blocks = -(-size // block)
    first = _HEADER.size + _NUMBER.size * blocks
    if first > len(packed) or (split > 1 and block % split):
        raise ValueError(f"it has no room for {blocks} blocks")
    for number, (begin,) in enumerate(_NUMBER.iter_unpack(packed[_HEADER.size : first].data)):
        is_cut = number == blocks - 1 and size % block
        at = begin
        for _ in range(1 if is_cut else split):
            if not first <= at <= len(packed) - _NUMBER.size:
                raise ValueError(f"its block {number} begins outside of it")
            (length,) = _NUMBER.unpack_from(packed.data, at)
            at += _NUMBER.size + length
            if length <= 0 or at > len(packed):
                raise ValueError(f"its block {number} ends outside of it")


def _zstd_size(head: bytes) -> int | None:
    """The bytes that a frame says it holds; None where it does not say."""
    if len(head) < 18:
        head = head.ljust(18, b"\0")
    if head[:4] != _ZSTD_MAGIC:
        raise ValueError("it is no frame of zstd")
    flags = head[4]
    is_single, width = flags >> 5 & 1, (0, 2, 4, 8)[flags >> 6]
    width = width or is_single
    if flags & 0b1011 or not width:  # reserved, or packed with a dictionary; or of unknown size
        return None
    at = 5 + (not is_single)
    return int.from_bytes(head[at : at + width], "little") + (256 if width == 2 else 0)
