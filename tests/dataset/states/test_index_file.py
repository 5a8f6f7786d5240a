"""The file of known states: a start reads it instead of all snapshots, and nobody believes it over them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import google_crc32c
import numpy as np
import pytest

from sgforge.columns import GraphColumns
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.states.index_file import index_fault, read_index, write_index
from sgforge.dataset.states.state_index import StateIndex
from sgforge.graph import Sample, SceneGraph

ROWS = 5
COLUMNS = GraphColumns.from_samples([Sample(f"i{row}", SceneGraph(9, 9)) for row in range(ROWS)])


def publish(writer: DatasetWriter, number: int) -> np.ndarray:
    """A snapshot with three keys of its own, one that all have, and one that it shares with the one before."""
    keys = np.random.default_rng(number).integers(0, 256, (ROWS, 16), np.uint8)
    keys[3] = 7
    keys[4] = number // 2
    writer.publish_source(COLUMNS, keys)
    return keys


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[np.ndarray]]:
    """Eleven snapshots, of which the file has the first nine; and the keys of each."""
    data = tmp_path_factory.mktemp("made") / "data"
    with DatasetWriter.open(data) as writer:
        keys = [publish(writer, number) for number in range(9)]
        writer.states()
    with DatasetWriter.open(data) as writer:
        keys += [publish(writer, number) for number in (9, 10)]
        writer.states()
    return data, keys


@pytest.fixture
def data(made, tmp_path) -> Path:
    shutil.copytree(made[0], tmp_path / "data")
    return tmp_path / "data"


def check(data: Path, keys: list[np.ndarray], without: tuple[int, ...] = ()) -> None:
    """Every key is found in a snapshot that has it, by what the snapshots themselves hold; no other is."""
    folder = DatasetFolder.open(data)
    index = StateIndex(folder)
    held = {each: Snapshot.open(folder.snapshot(each)).keys for each in folder.snapshot_ids()}
    there = {key.tobytes() for number, some in enumerate(keys) if number not in without for key in some}
    wanted = sorted({key.tobytes() for some in keys for key in some} | {b"unknown" + bytes(9)})
    for key, ref in zip(wanted, index.find(wanted), strict=True):
        assert (ref is not None) == (key in there)
        assert ref is None or held[ref.snapshot_id][ref.row].tobytes() == key


def test_a_start_reads_the_file_and_the_snapshots_that_it_misses(made, data, monkeypatch):
    saved = read_index(DatasetFolder.open(data))
    assert saved is not None
    assert len(saved.snapshots) == 9
    opened = []
    monkeypatch.setattr(
        Snapshot, "open", classmethod(lambda cls, path, _=Snapshot.open: opened.append(path) or _(path))
    )
    StateIndex(DatasetFolder.open(data))
    assert {path.name for path in opened} == set(DatasetFolder.open(data).snapshot_ids()) - set(saved.snapshots)
    monkeypatch.undo()
    check(data, made[1])


def test_it_is_written_when_it_misses_many_snapshots(tmp_path):
    with DatasetWriter.open(tmp_path) as writer:
        for number in range(7):
            publish(writer, number)
        writer.states()
    assert not (tmp_path / "states.index").exists()
    with DatasetWriter.open(tmp_path) as writer:
        publish(writer, 7)
        writer.states()
    assert (tmp_path / "states.index").exists()
    assert index_fault(tmp_path / "states.index") is None
    (tmp_path / ".states.index.abc.tmp").write_bytes(b"half")
    with DatasetWriter.open(tmp_path):
        assert not (tmp_path / ".states.index.abc.tmp").exists()


def test_a_flip_of_any_byte_is_found_and_nothing_is_lost(made, data):
    path = data / "states.index"
    content = path.read_bytes()
    for place in {*range(0, len(content), 97), len(content) - 1, content.index(b"\n")}:
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        fault = index_fault(path)
        assert fault is not None, place
        assert fault.endswith("nothing is lost, the next run writes it anew from the snapshots")
        assert read_index(DatasetFolder.open(data)) is None
    check(data, made[1])
    path.write_bytes(content[:40])
    assert read_index(DatasetFolder.open(data)) is None
    check(data, made[1])
    with DatasetWriter.open(data) as writer:
        writer.states()
    assert index_fault(path) is None
    saved = read_index(DatasetFolder.open(data))
    assert saved is not None
    assert len(saved.snapshots) == 11


def test_it_is_not_believed_when_a_snapshot_is_gone_or_another(made, data):
    folder = DatasetFolder.open(data)
    keys = {Snapshot.open(folder.snapshot(each)).keys.tobytes(): each for each in folder.snapshot_ids()}
    first = folder.snapshot(keys[made[1][0].tobytes()])
    shutil.rmtree(first)
    assert read_index(folder) is None
    # The keys that it shared with others are found in these.
    check(data, made[1], without=(0,))


def test_a_file_that_lies_is_found_out(made, data):
    folder = DatasetFolder.open(data)
    saved = read_index(folder)
    assert saved is not None
    for row in (np.roll(saved.row, 1), saved.row + ROWS, np.full_like(saved.row, 2**31 - 1)):
        write_index(folder, attrs.evolve(saved, row=row))
        assert index_fault(folder.states_index) is None
        check(data, made[1])
    invented = saved.keys.copy()
    invented[:, 15] ^= 1
    write_index(folder, attrs.evolve(saved, keys=invented))
    index = StateIndex(folder)
    assert index.find(invented[:9]) == [None] * 9
    assert None not in index.find(saved.keys[:9])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("states", -1),
        ("states", 10**12),
        ("states", "9"),
        ("snapshots", [["../..", 1, 1]]),
        ("format", "x"),
        ("version", 2),
    ],
)
def test_a_stranger_s_file_is_no_way_to_anything(made, data, field, value):
    path = data / "states.index"
    first, _, rest = path.read_bytes().partition(b"\n")
    told = {**json.loads(first), field: value}
    body = json.dumps(told).encode() + b"\n" + rest[:-4]
    path.write_bytes(body + google_crc32c.value(body).to_bytes(4, "little"))
    assert read_index(DatasetFolder.open(data)) is None
    check(data, made[1])


def test_on_a_full_disk_it_is_left_out(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sgforge.dataset.states.index_file.whole_file", full)
    with DatasetWriter.open(tmp_path) as writer:
        keys = [publish(writer, number) for number in range(9)]
        writer.states()
    assert not (tmp_path / "states.index").exists()
    check(tmp_path, keys)
