"""Writing zarr v3 arrays on a local disk, whole: sharded, compressed, with zarr's crc32c per chunk.

What is written is plain zarr v3: sharding_indexed over bytes, one of three packings, crc32c. The packing that makes a
sample of the array smallest is taken: zstd after a byte shuffle (numbers of one magnitude), after a bit shuffle (few
distinct ids), or as it is (mostly missing numbers, texts).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import google_crc32c
import numpy as np
from numcodecs import blosc, zstd

from sgforge.seals import Digest

__all__ = ["CRC", "DTYPES", "MISSING", "ArrayWriter", "Pieces", "Rows", "group_metadata", "write_array", "write_group"]

_CHUNK_BYTES: Final = 65_536
_CHUNKS_PER_SHARD: Final = 512
_LEVEL: Final = 3
_FEW: Final = 64
MISSING: Final = 2**64 - 1
"""Position and size of a chunk that is not stored."""
CRC: Final = struct.Struct("<I")
DTYPES: Final = {
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
}
"""zarr's names of the types that are stored."""


def group_metadata(attributes: dict[str, Any] | None = None) -> bytes:
    """The zarr.json of a zarr v3 group with these attributes."""
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes or {}}, indent=1).encode()


def write_group(folder: Path, attributes: dict[str, Any] | None = None) -> Digest:
    """Make `folder` a zarr v3 group with these attributes; the digest of its zarr.json."""
    folder.mkdir(parents=True, exist_ok=True)
    data = group_metadata(attributes)
    (folder / "zarr.json").write_bytes(data)
    return Digest.of(data)


@attrs.frozen
class _Shape:
    """How an array is cut: rows per chunk and per shard, and the items of one row."""

    rows: int
    chunk: int
    shard: int
    trailing: tuple[int, ...]

    @property
    def is_turned(self) -> bool:
        """Whether rows of a few numbers each are stored number by number, which packs better."""
        return len(self.trailing) == 1 and self.trailing[0] <= _FEW

    @classmethod
    def of(cls, rows: int, trailing: tuple[int, ...], itemsize: int) -> _Shape:
        full = max(1, _CHUNK_BYTES // (itemsize * math.prod(trailing)))
        if rows > full:
            return cls(rows, full, full * _CHUNKS_PER_SHARD, trailing)
        chunk = 1 << max(0, rows - 1).bit_length()
        return cls(rows, chunk, chunk, trailing)


class Rows(Protocol):
    """Rows of one array to be written, given span by span; `trailing` is the shape of a row."""

    dtype: np.dtype[Any]
    trailing: tuple[int, ...]

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, cut at the end."""
        ...


class Pieces:
    """Rows of one array that lie in several arrays one after the other; joined only where a span needs it."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts]).tolist()
        self.dtype = self._parts[0].dtype
        self.trailing = self._parts[0].shape[1:]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop (cut at the end); a view where one part has them all."""
        stop = min(stop, len(self))
        found = []
        for part, end in zip(self._parts, self._ends, strict=True):
            first = end - len(part)
            if first < stop and start < end:
                found.append(part[max(start - first, 0) : stop - first])
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else self._parts[0][:0]


def write_array(folder: Path, data: np.ndarray, fill: float) -> None:
    """Write `data` (rows first; at most one more axis) as the zarr array `folder`."""
    writer = ArrayWriter(folder, Pieces([data]), fill)
    for shard in range(writer.shards):
        writer.write_shard(shard)


class ArrayWriter:
    """Writes one zarr array shard by shard; chunks of nothing but `fill` are left out, as zarr does.

    Make and use it in worker threads: Blosc then compresses on one thread, which keeps the bytes reproducible. `files`:
    the digests of what is written, by path within the folder.
    """

    def __init__(self, folder: Path, data: Rows, fill: float) -> None:
        self._folder = folder
        self._data = data
        self._fill = fill
        self._shape = _Shape.of(len(data), data.trailing, data.dtype.itemsize)
        self._packing = _choose_packing(data, self._shape)
        self.shards = -(-self._shape.rows // self._shape.shard)
        self.files: dict[str, Digest] = {}
        folder.mkdir(parents=True)
        meta = _metadata(data.dtype, self._shape, fill, self._packing)
        self._write("zarr.json", json.dumps(meta, indent=1).encode())

    def write_shard(self, number: int) -> None:
        """Write one of the `shards` files; none where every chunk is missing."""
        shard = _encode_shard(self._data, number * self._shape.shard, self._shape, self._fill, self._packing)
        if shard:
            self._write(f"c/{number}{'/0' * len(self._shape.trailing)}", shard)

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.files[name] = Digest.of(data)


def _metadata(dtype: np.dtype[Any], shape: _Shape, fill: float, packing: str) -> dict[str, Any]:
    little: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    codecs = [{"name": "transpose", "configuration": {"order": [1, 0]}}] if shape.is_turned else []
    codecs += [{"name": "bytes"} if dtype.itemsize == 1 else little, _packing_codec(packing, dtype.itemsize)]
    sharding = {
        "chunk_shape": [shape.chunk, *shape.trailing],
        "codecs": [*codecs, {"name": "crc32c"}],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    is_float = dtype.kind == "f"
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [shape.rows, *shape.trailing],
        "data_type": DTYPES[dtype.str[1:]],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [shape.shard, *shape.trailing]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if math.isnan(fill) else fill if is_float else int(fill),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "storage_transformers": [],
    }


def _packing_codec(packing: str, itemsize: int) -> dict[str, Any]:
    if packing == "zstd":
        return {"name": "zstd", "configuration": {"level": _LEVEL, "checksum": False}}
    settings = {"typesize": itemsize, "cname": "zstd", "clevel": _LEVEL, "shuffle": packing, "blocksize": 0}
    return {"name": "blosc", "configuration": settings}


def _choose_packing(data: Rows, shape: _Shape) -> str:
    """The packing that makes three chunks of the array smallest; of equal ones the first."""
    packings = ("zstd", "bitshuffle") if data.dtype.itemsize == 1 else ("shuffle", "bitshuffle", "zstd")
    last = max(0, shape.rows - shape.chunk)
    samples = [data.rows(start, start + shape.chunk) for start in sorted({0, last // 2, last})]
    raws = [np.ascontiguousarray(sample.T if shape.is_turned else sample) for sample in samples]
    return min(packings, key=lambda packing: sum(len(_pack(raw, packing)) for raw in raws))


def _pack(raw: np.ndarray, packing: str) -> bytes:
    if packing == "zstd":
        packed: bytes = zstd.compress(raw, _LEVEL)
    else:
        shuffle = blosc.SHUFFLE if packing == "shuffle" else blosc.BITSHUFFLE
        packed = blosc.compress(raw, b"zstd", _LEVEL, shuffle, 0, raw.itemsize)
    return packed


def _encode_shard(data: Rows, first: int, shape: _Shape, fill: float, packing: str) -> bytes:
    """One shard file; empty bytes where every chunk is missing."""
    chunks: list[bytes] = []
    index: list[int] = []
    position = 0
    for start in range(first, first + shape.shard, shape.chunk):
        chunk = data.rows(start, start + shape.chunk)
        if not len(chunk) or _is_fill(chunk, fill):
            index += (MISSING, MISSING)
            continue
        packed = _encode_chunk(chunk, shape, fill, packing)
        chunks.append(packed)
        index += (position, len(packed))
        position += len(packed)
    if not chunks:
        return b""
    tail = struct.pack(f"<{len(index)}Q", *index)
    return b"".join([*chunks, tail, CRC.pack(google_crc32c.value(tail))])


def _is_fill(chunk: np.ndarray, fill: float) -> bool:
    # The first item settles most chunks without looking at the rest.
    if math.isnan(fill):
        return bool(np.isnan(chunk.flat[0])) and bool(np.isnan(chunk).all())
    return bool(chunk.flat[0] == fill) and bool((chunk == fill).all())


def _encode_chunk(chunk: np.ndarray, shape: _Shape, fill: float, packing: str) -> bytes:
    if len(chunk) < shape.chunk:
        padded = np.full((shape.chunk, *shape.trailing), fill, chunk.dtype)
        padded[: len(chunk)] = chunk
        chunk = padded
    packed = _pack(np.ascontiguousarray(chunk.T if shape.is_turned else chunk), packing)
    return packed + CRC.pack(google_crc32c.value(packed))
