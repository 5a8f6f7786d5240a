"""Zarr v3 arrays on a local disk, written whole and read fast: sharded, compressed, with zarr's crc32c per chunk.

What is written is plain zarr v3: sharding_indexed over bytes, one of three packings, crc32c. The packing that makes a
sample of the array smallest is taken: zstd after a byte shuffle (numbers of one magnitude), after a bit shuffle (few
distinct ids), or as it is (mostly missing numbers, texts). The reader covers what this module writes: it maps the files
and caches shard indices, so that a few rows cost one chunk each.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any, Final

import attrs
import google_crc32c
import numpy as np
from numcodecs import blosc, zstd

from sgforge.errors import DatasetError

__all__ = ["StoredArray", "write_array", "write_group"]

_CHUNK_BYTES: Final = 65_536
_MAX_CHUNK_BYTES: Final = 2**26
_CHUNKS_PER_SHARD: Final = 512
_MISSING: Final = 2**64 - 1
_LEVEL: Final = 3
_CRC: Final = struct.Struct("<I")
_DTYPES: Final = {"u1": "uint8", "i2": "int16", "i4": "int32", "u4": "uint32", "f4": "float32"}
_NAMES: Final = {name: code for code, name in _DTYPES.items()}


def write_group(folder: Path, attributes: dict[str, Any] | None = None) -> None:
    """Make `folder` a zarr v3 group with these attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes or {}}, indent=1)
    (folder / "zarr.json").write_text(text, encoding="utf-8")


@attrs.frozen
class _Shape:
    """How an array is cut: rows per chunk and per shard, and the items of one row."""

    rows: int
    chunk: int
    shard: int
    trailing: tuple[int, ...]

    @classmethod
    def of(cls, rows: int, trailing: tuple[int, ...], itemsize: int) -> _Shape:
        full = max(1, _CHUNK_BYTES // (itemsize * math.prod(trailing)))
        if rows > full:
            return cls(rows, full, full * _CHUNKS_PER_SHARD, trailing)
        chunk = 1 << max(0, rows - 1).bit_length()
        return cls(rows, chunk, chunk, trailing)


def write_array(folder: Path, data: np.ndarray, fill: float) -> None:
    """Write `data` (rows first; at most one more axis) as the zarr array `folder`; chunks of nothing but `fill` are
    left out, as zarr does.

    Call it from a worker thread: Blosc then compresses on this thread alone, which keeps the bytes reproducible.
    """
    data = np.ascontiguousarray(data)
    shape = _Shape.of(len(data), data.shape[1:], data.itemsize)
    packing = _choose_packing(data, shape)
    folder.mkdir(parents=True)
    (folder / "zarr.json").write_text(json.dumps(_metadata(data, shape, fill, packing), indent=1), encoding="utf-8")
    ending = "/0" * len(shape.trailing)
    for number, start in enumerate(range(0, shape.rows, shape.shard)):
        shard = _encode_shard(data[start : start + shape.shard], shape, fill, packing)
        if shard:
            path = folder / f"c/{number}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(shard)


def _metadata(data: np.ndarray, shape: _Shape, fill: float, packing: str) -> dict[str, Any]:
    little: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    codecs = [{"name": "transpose", "configuration": {"order": [1, 0]}}] if shape.trailing else []
    codecs += [{"name": "bytes"} if data.itemsize == 1 else little, _packing_codec(packing, data.itemsize)]
    sharding = {
        "chunk_shape": [shape.chunk, *shape.trailing],
        "codecs": [*codecs, {"name": "crc32c"}],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    is_float = data.dtype.kind == "f"
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(data.shape),
        "data_type": _DTYPES[data.dtype.str[1:]],
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


def _choose_packing(data: np.ndarray, shape: _Shape) -> str:
    """The packing that makes three chunks of the array smallest; of equal ones the first."""
    packings = ("zstd", "bitshuffle") if data.itemsize == 1 else ("shuffle", "bitshuffle", "zstd")
    last = max(0, len(data) - shape.chunk)
    samples = [data[start : start + shape.chunk] for start in sorted({0, last // 2, last})]
    raws = [np.ascontiguousarray(sample.T if shape.trailing else sample) for sample in samples]
    return min(packings, key=lambda packing: sum(len(_pack(raw, packing)) for raw in raws))


def _pack(raw: np.ndarray, packing: str) -> bytes:
    if packing == "zstd":
        packed: bytes = zstd.compress(raw, _LEVEL)
    else:
        shuffle = blosc.SHUFFLE if packing == "shuffle" else blosc.BITSHUFFLE
        packed = blosc.compress(raw, b"zstd", _LEVEL, shuffle, 0, raw.itemsize)
    return packed


def _encode_shard(data: np.ndarray, shape: _Shape, fill: float, packing: str) -> bytes:
    """One shard file; empty bytes where every chunk is missing."""
    chunks: list[bytes] = []
    index: list[int] = []
    position = 0
    for start in range(0, shape.shard, shape.chunk):
        chunk = data[start : start + shape.chunk]
        if not len(chunk) or _is_fill(chunk, fill):
            index += (_MISSING, _MISSING)
            continue
        packed = _encode_chunk(chunk, shape, fill, packing)
        chunks.append(packed)
        index += (position, len(packed))
        position += len(packed)
    if not chunks:
        return b""
    tail = struct.pack(f"<{len(index)}Q", *index)
    return b"".join([*chunks, tail, _CRC.pack(google_crc32c.value(tail))])


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
    packed = _pack(np.ascontiguousarray(chunk.T if shape.trailing else chunk), packing)
    return packed + _CRC.pack(google_crc32c.value(packed))


class StoredArray:
    """One array of a snapshot, read by rows; a damaged or missing file is a `DatasetError` naming it.

    `root`: the folder that no file of the array may lie outside of, through links (the array's own by default).
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self._folder = folder
        self._root = Path(os.path.realpath(root or folder))
        try:
            meta = json.loads(self._inside(folder / "zarr.json").read_text(encoding="utf-8"))
            sharding = meta["codecs"][0]["configuration"]
            size, *trailing = meta["shape"]
            fill = meta["fill_value"]
            self.dtype = np.dtype("<" + _NAMES[meta["data_type"]])
            self.fill = math.nan if fill == "NaN" else float(fill)
            self._trailing = tuple(trailing)
            self._chunk = int(sharding["chunk_shape"][0])
            self._shard = int(meta["chunk_grid"]["configuration"]["chunk_shape"][0])
            self.rows = int(size)
            names = [codec["name"] for codec in sharding["codecs"]]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DatasetError(f"{folder}: no readable array: {error}") from None
        self._is_zstd = "zstd" in names
        self._check_meta(names)
        self._chunk_items = self._chunk * math.prod(self._trailing)
        self._maps: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}
        self._last: tuple[int, np.ndarray] = (-1, np.zeros(0))

    def _inside(self, path: Path) -> Path:
        if not Path(os.path.realpath(path)).is_relative_to(self._root):
            raise DatasetError(f"{path} leads out of {self._root}: refused")
        return path

    def _check_meta(self, names: list[str]) -> None:
        expected = [*(["transpose"] if self._trailing else []), "bytes", "zstd" if self._is_zstd else "blosc", "crc32c"]
        in_range = self.rows >= 0 and 0 < self._chunk <= self._shard and self._shard % self._chunk == 0
        if not (len(self._trailing) < 2 and all(type(side) is int and 0 < side <= 64 for side in self._trailing)):
            raise DatasetError(f"{self._folder}: an array of shape {self.shape}; this reader knows rows of numbers")
        # Arrays are written in chunks of 64 kB; what claims far more would only fill the memory.
        in_range = in_range and self._chunk * math.prod(self._trailing) * self.dtype.itemsize <= _MAX_CHUNK_BYTES
        if names != expected or not in_range:
            raise DatasetError(f"{self._folder}: an array of codecs {names}; this reader knows {expected}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (self.rows, *self._trailing)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop, (stop - start, ...); a short span reuses the chunk read last."""
        stop = self.rows if stop is None else stop
        if not 0 <= start <= stop <= self.rows:
            raise DatasetError(f"{self._folder}: rows {start} to {stop} of {self.rows}")
        if start == stop:
            return np.zeros((0, *self._trailing), self.dtype)
        first, last = start // self._chunk, (stop - 1) // self._chunk
        if first == last:
            offset = first * self._chunk
            return self._cached_chunk(first)[start - offset : stop - offset]
        try:
            out = np.empty((stop - start, *self._trailing), self.dtype)
        except MemoryError as error:
            raise DatasetError(f"{self._folder}: rows {start} to {stop} do not fit into memory") from error
        for chunk in range(first, last + 1):
            offset = chunk * self._chunk
            low, high = max(start, offset), min(stop, offset + self._chunk)
            self._read_into(out[low - start : high - start], chunk, low - offset)
        return out

    def _cached_chunk(self, chunk: int) -> np.ndarray:
        number, data = self._last
        if number != chunk:
            data = np.empty((self._chunk, *self._trailing), self.dtype)
            self._read_into(data, chunk, 0)
            data.flags.writeable = False
            self._last = (chunk, data)
        return data

    def _read_into(self, out: np.ndarray, chunk: int, skip: int) -> None:
        """Rows `skip` and following of one chunk, as many as `out` takes."""
        packed = self._packed_chunk(chunk)
        if packed is None:
            out[...] = self.fill
            return
        is_whole = len(out) == self._chunk and not self._trailing
        raw = out if is_whole else np.empty(self._chunk_items, self.dtype)
        try:
            if self._is_zstd:
                zstd.decompress(packed, raw)
            else:
                blosc.decompress(packed, raw)
        except (RuntimeError, ValueError) as error:
            raise DatasetError(f"{self._folder}: chunk {chunk} cannot be unpacked: {error}") from None
        if self._trailing:
            out[...] = raw.reshape(*self._trailing, self._chunk).T[skip : skip + len(out)]
        elif not is_whole:
            out[...] = raw[skip : skip + len(out)]

    def _packed_chunk(self, chunk: int) -> np.ndarray | None:
        """The compressed bytes of one chunk after their checksum is checked; None for a chunk of fill values."""
        per_shard = self._shard // self._chunk
        shard, inner = divmod(chunk, per_shard)
        found = self._maps[shard] if shard in self._maps else self._open_shard(shard)
        if found is None:
            return None
        data, index = found
        position, size = int(index[inner, 0]), int(index[inner, 1])
        if position == _MISSING:
            return None
        stored = data[position : position + size]
        if len(stored) != size or size < 4 or google_crc32c.value(stored[:-4]) != _CRC.unpack(stored[-4:].tobytes())[0]:
            raise DatasetError(f"{self._folder}: checksum of chunk {chunk} is wrong; the file is damaged")
        return stored[:-4]

    def _open_shard(self, shard: int) -> tuple[np.ndarray, np.ndarray] | None:
        path = self._inside(self._folder / f"c/{shard}{'/0' * len(self._trailing)}")
        try:
            with path.open("rb") as stream:
                data = np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except FileNotFoundError:
            self._maps[shard] = None
            return None
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: {error}") from None
        size = 16 * (self._shard // self._chunk)
        tail = data[-size - 4 : -4]
        if len(data) < size + 4 or google_crc32c.value(tail) != _CRC.unpack(data[-4:].tobytes())[0]:
            raise DatasetError(f"{path}: checksum of the shard's index is wrong; the file is damaged")
        found = data, np.frombuffer(tail.tobytes(), "<u8").reshape(-1, 2)
        self._maps[shard] = found
        return found
