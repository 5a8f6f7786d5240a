"""Chunks whose headers lie: none reaches C code that would follow it out of the chunk."""

from __future__ import annotations

import os
import random
import struct
from collections import Counter
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from numcodecs import blosc, zstd

from sgforge.dataset.zarr_arrays.chunks import unpack_blosc, unpack_zstd
from sgforge.dataset.zarr_arrays.reading import StoredArray
from sgforge.dataset.zarr_arrays.writing import write_array
from sgforge.errors import DatasetError

RNG = np.random.default_rng(11)
NUMBERS = RNG.integers(0, 500, 4096).astype("i4")
HEADER = struct.Struct("<BBBBiii")
GUARD = 4096


def packed(data: np.ndarray = NUMBERS, shuffle: int = blosc.SHUFFLE, block: int = 0) -> bytearray:
    return bytearray(blosc.compress(data, b"zstd", 3, shuffle, block, data.itemsize))


def unpacked(chunk: bytes, like: np.ndarray = NUMBERS) -> np.ndarray:
    """What a chunk unpacks to; nothing beside it is written to, whether it is refused or not."""
    guarded = np.full(GUARD + like.nbytes + GUARD, 0xA5, np.uint8)
    out = guarded[GUARD:-GUARD].view(like.dtype)
    try:
        unpack_blosc(np.frombuffer(bytes(chunk), np.uint8), out)
    finally:
        assert (guarded[:GUARD] == 0xA5).all()
        assert (guarded[-GUARD:] == 0xA5).all()
    return out


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i8"])
@pytest.mark.parametrize("rows", [1, 3, 100, 65_536, 300_000])
@pytest.mark.parametrize("shuffle", [blosc.NOSHUFFLE, blosc.SHUFFLE, blosc.BITSHUFFLE])
def test_what_blosc_packs_is_unpacked(dtype, rows, shuffle):
    data = RNG.integers(0, 99, rows).astype(dtype)
    for block in (0, 4096):
        assert unpacked(packed(data, shuffle, block), data).tobytes() == data.tobytes()


@pytest.mark.parametrize(
    "data", [np.frombuffer(RNG.bytes(40_000), "f8"), np.arange(7, dtype="i2")], ids=["noise", "few"]
)
def test_what_was_copied_is_unpacked(data):
    chunk = packed(data)
    assert chunk[2] & 2
    assert unpacked(chunk, data).tobytes() == data.tobytes()


LIES = {
    "version": (0, "<B", 3),
    "another packer's version": (1, "<B", 9),
    "another packer": (2, "<B", 1),
    "a reserved flag": (2, "<B", 0x99),
    "both shuffles": (2, "<B", 0x95),
    "copied, and is not": (2, "<B", 0x93),
    "item of 0 bytes": (3, "<B", 0),
    "items of 8 bytes": (3, "<B", 8),
    "fewer bytes": (4, "<i", 16),
    "more bytes": (4, "<i", 2**31 - 1),
    "negative bytes": (4, "<i", -1),
    "blocks of nothing": (8, "<i", 0),
    "blocks of 16 bytes": (8, "<i", 16),
    "blocks of one byte": (8, "<i", 1),
    "negative blocks": (8, "<i", -4),
    "blocks beyond the chunk": (8, "<i", 2**31 - 1),
    "a longer chunk": (12, "<i", 2**31 - 1),
    "a shorter chunk": (12, "<i", 20),
    "first block beyond the end": (16, "<i", 2**31 - 16),
    "first block before the chunk": (16, "<i", -2_000_000_000),
    "first block in the header": (16, "<i", 4),
    "first stream beyond the end": (20, "<i", 2**31 - 1),
    "first stream of negative length": (20, "<i", -(2**31)),
    "first stream empty": (20, "<i", 0),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(lie):
    at, form, value = LIES[lie]
    chunk = packed()
    assert HEADER.unpack_from(chunk)[:4] == (2, 1, 0x91, 4)
    struct.pack_into(form, chunk, at, value)
    with pytest.raises(ValueError, match=r"."):
        unpacked(chunk)


@pytest.mark.parametrize("length", [0, 4, 15, 16, 19, 24, 200])
def test_a_cut_chunk_is_refused(length):
    with pytest.raises(ValueError, match=r"."):
        unpacked(packed()[:length])


def test_no_change_of_a_byte_does_more_than_another_answer_or_an_error():
    chance = random.Random(3)
    sound = packed(NUMBERS, block=4096)
    ends = Counter()
    for number in range(3000):
        chunk = bytearray(sound)
        for _ in range(chance.randrange(1, 4)):
            chunk[chance.randrange(min(len(chunk), 60 if number % 2 else len(chunk)))] = chance.randrange(256)
        try:
            ends["same" if np.array_equal(unpacked(chunk), NUMBERS) else "another"] += 1
        except ValueError:  # ours, before any C code
            ends["refused"] += 1
        except RuntimeError:  # of Blosc, of what no header tells
            ends["failed"] += 1
    assert ends.total() == 3000
    assert min(ends["refused"], ends["another"], ends["failed"]) > 100, ends


def test_a_frame_of_another_size_is_refused():
    data = RNG.integers(0, 9, 1000).astype("u1")
    for size in (1000, 999, 255, 256):
        part = data[:size]
        out = np.full(1000, 7, "u1")
        if size == 1000:
            unpack_zstd(np.frombuffer(zstd.compress(part, 3), np.uint8), out)
            assert out.tobytes() == data.tobytes()
        else:  # the rest would be what was in memory before
            with pytest.raises(ValueError, match=f"it holds {size} bytes, it must be 1000"):
                unpack_zstd(np.frombuffer(zstd.compress(part, 3), np.uint8), out)


@pytest.mark.parametrize("head", [b"", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + bytes(20), bytes(30)])
def test_what_is_no_frame_is_refused(head):
    with pytest.raises(ValueError, match=r"."):
        unpack_zstd(np.frombuffer(head, np.uint8), np.zeros(10, "u1"))


def lying_array(folder: Path) -> Path:
    """An array with a chunk whose header points far outside of it, its checksum right."""
    write_array(folder / "x", RNG.integers(0, 9, 40_000).astype("i4"), -1)
    shard = bytearray((folder / "x/c/0").read_bytes())
    at, size = struct.unpack_from("<QQ", shard, len(shard) - 4 - 16 * 512)
    chunk = shard[at : at + size - 4]
    struct.pack_into("<iii", chunk, 8, 16, 2**31 - 1, 2**31 - 16)
    shard[at : at + size] = chunk + struct.pack("<I", google_crc32c.value(bytes(chunk)))
    (folder / "x/c/0").write_bytes(shard)
    return folder / "x"


def test_a_stored_chunk_that_lies_is_damage(tmp_path):
    with pytest.raises(DatasetError, match=r"chunk 0 cannot be unpacked: .*this version is damaged"):
        StoredArray(lying_array(tmp_path)).read()


def test_a_chunk_larger_than_any_is_not_read(tmp_path):
    write_array(tmp_path / "x", np.arange(10, dtype="u1"), 0)
    with open(tmp_path / "x/c/0", "wb") as stream:  # half a gigabyte of holes
        stream.truncate(2**29)
        stream.seek(0, os.SEEK_END)
        tail = struct.pack("<QQ", 0, 2**29)
        stream.write(tail + struct.pack("<I", google_crc32c.value(tail)))
    with pytest.raises(DatasetError, match="checksum of chunk 0"):
        StoredArray(tmp_path / "x").read()


@pytest.mark.parametrize("entry", [(0, 0), (0, 3), (2**63, 8), (2**64 - 2, 8), (0, 2**63), (9, 2**64 - 1)])
def test_an_index_that_names_no_chunk_is_damage(tmp_path, entry):
    write_array(tmp_path / "x", np.arange(10, dtype="u1"), 0)
    shard = (tmp_path / "x/c/0").read_bytes()
    tail = struct.pack("<QQ", *entry)
    (tmp_path / "x/c/0").write_bytes(shard[:-20] + tail + struct.pack("<I", google_crc32c.value(tail)))
    with pytest.raises(DatasetError, match="checksum of chunk 0"):
        StoredArray(tmp_path / "x").read()


@pytest.mark.parametrize("name", ["zarr.json", "c/0"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path, name):
    write_array(tmp_path / "x", np.arange(10, dtype="u1"), 0)
    (tmp_path / "x" / name).unlink()
    os.mkfifo(tmp_path / "x" / name)
    with pytest.raises(DatasetError, match="no regular file"):
        StoredArray(tmp_path / "x").read()
