"""Reading zarr v3 arrays that `sgforge.dataset.zarr_arrays.writing` wrote, fast.

Files are mapped and shard indices kept, so that a few rows cost one chunk each; every chunk's checksum is checked.
"""

from __future__ import annotations

import math
import mmap
import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np

from sgforge.dataset.damage import damaged_snapshot
from sgforge.dataset.zarr_arrays.chunks import most_packed, unpack_blosc, unpack_zstd
from sgforge.dataset.zarr_arrays.writing import CRC, DTYPES, MISSING
from sgforge.errors import DatasetError
from sgforge.regular_files import open_regular, read_json

__all__ = ["StoredArray"]

_MAX_CHUNK_BYTES: Final = 2**26
_MAX_ROW_BYTES: Final = 4096
_BLOCK_BYTES: Final = 2**24
_MAX_META_BYTES: Final = 2**16
_NAMES: Final = {name: code for code, name in DTYPES.items()}


class StoredArray:
    """One array of a snapshot, read by rows; a damaged or missing file is a `DatasetError` naming it.

    `root`: the folder that no file of the array may lie outside of, through links (the array's own by default).
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self._folder = folder
        self._given_root = root or folder
        try:
            meta = read_json(self._inside(folder / "zarr.json"), _MAX_META_BYTES)
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
        except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
            raise damaged_snapshot(f"{folder}: no readable array: {error}", self._root) from None
        self._is_zstd = "zstd" in names
        self._is_turned = "transpose" in names
        self._check_meta(names)
        self._chunk_items = self._chunk * math.prod(self._trailing)
        self._maps: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}
        self._last: tuple[int, np.ndarray] = (-1, np.zeros(0))

    @cached_property
    def _root(self) -> Path:
        return Path(os.path.realpath(self._given_root))

    def _inside(self, path: Path) -> Path:
        # A version has some 80 arrays: to resolve all their paths took as long as to read them.
        if _may_lead_out(path, self._given_root) and not Path(os.path.realpath(path)).is_relative_to(self._root):
            raise DatasetError(f"{path} leads out of {self._root}: refused")
        return path

    def _check_meta(self, names: list[str]) -> None:
        expected = [
            *(["transpose"] if self._is_turned else []),
            "bytes",
            "zstd" if self._is_zstd else "blosc",
            "crc32c",
        ]
        in_range = self.rows >= 0 and 0 < self._chunk <= self._shard and self._shard % self._chunk == 0
        sides_right = all(type(side) is int and 0 < side <= _MAX_ROW_BYTES for side in self._trailing)
        is_row = sides_right and math.prod(self._trailing) * self.dtype.itemsize <= _MAX_ROW_BYTES
        if not is_row or (self._is_turned and len(self._trailing) != 1):
            raise DatasetError(f"{self._folder}: an array of shape {self.shape}; this reader knows rows of numbers")
        # Arrays are written in chunks of 64 kB; what claims far more would only fill the memory.
        in_range = in_range and self._chunk * math.prod(self._trailing) * self.dtype.itemsize <= _MAX_CHUNK_BYTES
        if names != expected or not in_range:
            raise DatasetError(f"{self._folder}: an array of codecs {names}; this reader knows {expected}")

    @property
    def bytes(self) -> int:
        """What all rows take in memory."""
        size: int = self.rows * math.prod(self._trailing) * self.dtype.itemsize
        return size

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (self.rows, *self._trailing)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop, (stop - start, ...), not to be written to; a short span reuses the chunk read last.

        Rows of which no chunk is stored are one value, shown that often (strides of 0).
        """
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
        if all(self._place_of(chunk) is None for chunk in range(first, last + 1)):
            return np.broadcast_to(np.asarray(self.fill, self.dtype), out.shape)
        for chunk in range(first, last + 1):
            offset = chunk * self._chunk
            low, high = max(start, offset), min(stop, offset + self._chunk)
            self._read_into(out[low - start : high - start], chunk, low - offset)
        return out

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, some 16 MB at a time: a column may be larger than memory."""
        step = max(1, _BLOCK_BYTES // (self.dtype.itemsize * math.prod(self._trailing)))
        return (self.read(start, min(start + step, self.rows)) for start in range(0, self.rows, step))

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
        is_whole = len(out) == self._chunk and not self._is_turned
        raw = out if is_whole else np.empty(self._chunk_items, self.dtype)
        try:
            if self._is_zstd:
                unpack_zstd(packed, raw)
            else:
                unpack_blosc(packed, raw)
        except (RuntimeError, ValueError) as error:
            raise damaged_snapshot(f"{self._folder}: chunk {chunk} cannot be unpacked: {error}", self._root) from None
        if self._is_turned:
            out[...] = raw.reshape(*self._trailing, self._chunk).T[skip : skip + len(out)]
        elif not is_whole:
            out[...] = raw.reshape(self._chunk, *self._trailing)[skip : skip + len(out)]

    def _packed_chunk(self, chunk: int) -> np.ndarray | None:
        """The compressed bytes of one chunk after their checksum is checked; None for a chunk of fill values."""
        place = self._place_of(chunk)
        if place is None:
            return None
        data, position, size = place
        # What is larger than any chunk is not read for its checksum: a sparse file may claim a terabyte.
        is_chunk = 4 <= size <= most_packed(self._chunk_items * self.dtype.itemsize)
        stored = data[position : position + size] if is_chunk else data[:0]
        is_whole = is_chunk and len(stored) == size
        if not is_whole or google_crc32c.value(stored[:-4]) != CRC.unpack(stored[-4:].tobytes())[0]:
            raise damaged_snapshot(f"{self._folder}: checksum of chunk {chunk} is wrong", self._root)
        return stored[:-4]

    def _place_of(self, chunk: int) -> tuple[np.ndarray, int, int] | None:
        """The shard in which a chunk is stored, and from where how many bytes; None for a chunk of fill values."""
        shard, inner = divmod(chunk, self._shard // self._chunk)
        found = self._maps[shard] if shard in self._maps else self._open_shard(shard)
        if found is None:
            return None
        data, index = found
        position, size = int(index[inner, 0]), int(index[inner, 1])
        return None if position == MISSING else (data, position, size)

    def _open_shard(self, shard: int) -> tuple[np.ndarray, np.ndarray] | None:
        path = self._inside(self._folder / f"c/{shard}{'/0' * len(self._trailing)}")
        try:
            with open_regular(path) as stream:
                data = np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except FileNotFoundError:
            self._maps[shard] = None
            return None
        except (OSError, ValueError) as error:
            raise damaged_snapshot(f"{path}: {getattr(error, 'strerror', None) or error}", self._root) from None
        size = 16 * (self._shard // self._chunk)
        tail = data[-size - 4 : -4]
        if len(data) < size + 4 or google_crc32c.value(tail) != CRC.unpack(data[-4:].tobytes())[0]:
            raise damaged_snapshot(f"{path}: checksum of the shard's index is wrong", self._root)
        found = data, np.frombuffer(tail.tobytes(), "<u8").reshape(-1, 2)
        self._maps[shard] = found
        return found


def _may_lead_out(path: Path, root: Path) -> bool:
    """Whether a name below `root` is a link, or is none that can be told from one; without links `path` lies inside."""
    at, whole = os.fspath(root), os.fspath(path)
    if not whole.startswith(f"{at}/"):
        return True
    for name in whole[len(at) + 1 :].split("/"):
        at = f"{at}/{name}"
        try:
            if name == ".." or stat.S_ISLNK(os.lstat(at).st_mode):
                return True
        except FileNotFoundError:
            return False
        except OSError:
            return True
    return False
