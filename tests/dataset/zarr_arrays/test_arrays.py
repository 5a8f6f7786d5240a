"""Stored arrays: what plain zarr reads, chunks of fill values, damage of every kind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from dataset.given import FEW
from hypothesis import given
from hypothesis import strategies as st

from sgforge.dataset.zarr_arrays.reading import StoredArray
from sgforge.dataset.zarr_arrays.writing import ArrayWriter, Pieces, write_array, write_group
from sgforge.errors import DatasetError

RNG = np.random.default_rng(7)
CASES = {
    "ids over three chunks": (RNG.integers(-1, 9, 40_000).astype("i4"), -1),
    "numbers": (RNG.random(20_000).astype("f4"), np.nan),
    "mostly missing numbers": (np.where(RNG.random(20_000) < 0.01, RNG.random(20_000), np.nan).astype("f4"), np.nan),
    "boxes": (RNG.random((9_000, 4)).astype("f4"), np.nan),
    "missing boxes": (np.full((9_000, 4), np.nan, "f4"), np.nan),
    "flags": ((RNG.random(200_000) < 0.1).astype("u1"), 0),
    "bytes over two shards": (np.resize(np.arange(251, dtype="u1"), 40_000_000), 0),
    "levels": (np.arange(-5, 5, dtype="i2"), -32768),
    "one row": (np.asarray([3], "u4"), 0),
    "no row": (np.zeros(0, "u4"), 0),
    "no box": (np.zeros((0, 4), "f4"), np.nan),
    "keys": (RNG.integers(0, 256, (3_000, 32)).astype("u1"), 0),
    "one value far out": (np.concatenate([np.zeros(35_000_000, "u1"), np.ones(1, "u1")]), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_plain_zarr_and_the_reader_read_what_was_written(tmp_path, name):
    data, fill = CASES[name]
    write_group(tmp_path / "g", {"sgforge": {"a": 1}})
    write_array(tmp_path / "g/x", data, fill)
    plain = zarr.open_group(str(tmp_path / "g"), mode="r")
    assert plain.attrs["sgforge"] == {"a": 1}
    assert plain["x"][:].dtype == data.dtype
    assert plain["x"][:].tobytes() == data.tobytes()
    stored = StoredArray(tmp_path / "g/x")
    assert stored.read().tobytes() == data.tobytes()
    for _ in range(20 if data.size < 1_000_000 else 2):
        start, stop = sorted(RNG.integers(0, len(data) + 1, 2).tolist())
        assert stored.read(start, stop).tobytes() == data[start:stop].tobytes()


def test_chunks_of_fill_values_are_not_stored(tmp_path):
    write_array(tmp_path / "x", np.full(100_000, -1, "i4"), -1)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["zarr.json"]
    data = np.full(100_000, -1, "i4")
    data[50_000] = 4
    write_array(tmp_path / "y", data, -1)
    chunk = 16_384
    shard = (tmp_path / "y/c/0").read_bytes()
    index = np.frombuffer(shard[-4 - 16 * 512 : -4], "<u8").reshape(-1, 2)
    assert np.flatnonzero(index[:, 1] != 2**64 - 1).tolist() == [50_000 // chunk]


@FEW
@given(st.lists(st.integers(0, 255), max_size=40), st.data())
def test_any_span_of_a_small_array(values, data):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        write_array(Path(folder) / "x", np.asarray(values, "u1"), 0)
        start = data.draw(st.integers(0, len(values)))
        stop = data.draw(st.integers(start, len(values)))
        assert StoredArray(Path(folder) / "x").read(start, stop).tolist() == values[start:stop]


def _stored(tmp_path):
    write_array(tmp_path / "x", RNG.integers(0, 9, 40_000).astype("i4"), -1)
    return tmp_path / "x"


@pytest.mark.parametrize("where", ["first chunk", "last chunk", "index", "end"])
def test_a_flipped_byte_is_found(tmp_path, where):
    folder = _stored(tmp_path)
    data = bytearray((folder / "c/0").read_bytes())
    index = np.frombuffer(bytes(data[-4 - 16 * 512 : -4]), "<u8").reshape(-1, 2)
    position = {
        "first chunk": 9,
        "last chunk": int(index[2].sum()) - 6,
        "index": len(data) - 4 - 16 * 512,
        "end": len(data) - 1,
    }
    data[position[where]] ^= 1
    (folder / "c/0").write_bytes(data)
    with pytest.raises(DatasetError, match=r"checksum.*damaged"):
        StoredArray(folder).read()


@pytest.mark.parametrize("keep", [0, 3, 100, -5])
def test_a_cut_shard_is_an_error(tmp_path, keep):
    folder = _stored(tmp_path)
    data = (folder / "c/0").read_bytes()
    (folder / "c/0").write_bytes(data[:keep])
    with pytest.raises(DatasetError):
        StoredArray(folder).read()


def test_rows_outside_the_array_are_an_error(tmp_path):
    stored = StoredArray(_stored(tmp_path))
    for start, stop in ((-1, 3), (5, 4), (0, 40_001)):
        with pytest.raises(DatasetError, match="of 40000"):
            stored.read(start, stop)


@pytest.mark.parametrize(
    "change",
    [
        {"data_type": "complex64"},
        {"shape": [-1]},
        {"shape": "many"},
        {"codecs": []},
        {"codecs": [{"name": "bytes"}]},
        {"fill_value": None},
        {"chunk_grid": {"configuration": {"chunk_shape": [0]}}},
    ],
)
def test_descriptions_of_other_arrays_are_refused(tmp_path, change):
    folder = _stored(tmp_path)
    meta = json.loads((folder / "zarr.json").read_text())
    (folder / "zarr.json").write_text(json.dumps(meta | change))
    with pytest.raises(DatasetError):
        StoredArray(folder).read()


@FEW
@given(st.lists(st.lists(st.integers(0, 255), max_size=6), min_size=1, max_size=5), st.data())
def test_pieces_read_like_their_rows_joined(parts, data):
    pieces = Pieces([np.asarray(part, "u1") for part in parts])
    joined = [value for part in parts for value in part]
    assert len(pieces) == len(joined)
    start = data.draw(st.integers(0, len(joined) + 1))
    stop = data.draw(st.integers(start, len(joined) + 3))
    assert pieces.rows(start, stop).tolist() == joined[start:stop]


def test_an_array_in_pieces_has_the_bytes_of_the_whole(tmp_path):
    data, fill = CASES["boxes"]
    write_array(tmp_path / "whole", data, fill)
    writer = ArrayWriter(tmp_path / "pieces", Pieces([data[:10], data[10:4100], data[4100:4100], data[4100:]]), fill)
    for shard in range(writer.shards):
        writer.write_shard(shard)
    for name in ("zarr.json", "c/0/0"):
        assert (tmp_path / "pieces" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_rows_of_which_nothing_is_stored_take_no_memory(tmp_path):
    data, fill = CASES["missing boxes"]
    write_array(tmp_path / "a", data, fill)
    found = StoredArray(tmp_path / "a").read()
    assert found.shape == (9_000, 4)
    assert found.strides == (0, 0)
    assert np.isnan(found).all()
    # A copy, written again, has the bytes of what was written first.
    writer = ArrayWriter(tmp_path / "b", Pieces([found[:5_000], found[5_000:]]), fill)
    for shard in range(writer.shards):
        writer.write_shard(shard)
    assert not (tmp_path / "b/c").exists()
    assert (tmp_path / "b/zarr.json").read_bytes() == (tmp_path / "a/zarr.json").read_bytes()
    data, fill = CASES["one value far out"]
    write_array(tmp_path / "c", data, fill)
    assert StoredArray(tmp_path / "c").read().nonzero()[0].tolist() == [35_000_000]


def test_bytes_are_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        write_array(tmp_path / name, CASES["numbers"][0], np.nan)
    assert (tmp_path / "a/c/0").read_bytes() == (tmp_path / "b/c/0").read_bytes()


@pytest.mark.parametrize(
    "shape",
    [[9_000, -4], [9_000, 0], [9_000, "4"], [9_000, 4.0], [9_000, True], [9_000, 10**9], [9_000, 2, 2]],
)
def test_a_shape_that_no_array_has_is_refused(tmp_path, shape):
    data, fill = CASES["boxes"]
    write_array(tmp_path / "a", data, fill)
    meta = json.loads((tmp_path / "a" / "zarr.json").read_text())
    (tmp_path / "a" / "zarr.json").write_text(json.dumps({**meta, "shape": shape}))
    with pytest.raises(DatasetError, match="an array of shape"):
        StoredArray(tmp_path / "a").read()


def test_what_claims_to_be_far_larger_than_memory_is_an_error(tmp_path):
    write_array(tmp_path / "a", np.zeros(10, "u1"), 0)
    file = tmp_path / "a" / "zarr.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({**meta, "shape": [2**60]}))
    with pytest.raises(DatasetError, match="do not fit into memory"):
        StoredArray(tmp_path / "a").read()
    sharding = meta["codecs"][0]["configuration"] | {"chunk_shape": [2**40]}
    grid = {"name": "regular", "configuration": {"chunk_shape": [2**40]}}
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    file.write_text(json.dumps({**meta, "chunk_grid": grid, "codecs": codecs}))
    with pytest.raises(DatasetError, match="this reader knows"):
        StoredArray(tmp_path / "a")
