"""Finding states by key: places, keys that share a prefix, snapshots that share states; links in the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sgforge.dataset import DatasetWriter, JournalRow, StepRecord
from sgforge.edits import Edit
from sgforge.errors import DatasetError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit
from sgforge.statekey import KEY_BYTES


def people(count: int) -> list[Sample]:
    return [Sample(f"im{number:03}") for number in range(count)]


def key(prefix: int, rest: int) -> bytes:
    return prefix.to_bytes(8, "little") + rest.to_bytes(KEY_BYTES - 8, "little")


def test_keys_of_one_prefix_are_told_apart(tmp_path):
    keys = [key(7, 3), key(7, 1), key(2**64 - 1, 1), key(7, 2), key(0, 0)]
    with DatasetWriter.open(tmp_path) as writer:
        snapshot = writer.publish_source(people(5), keys)
        found = writer.states().find([*keys, key(7, 0), key(7, 4), key(2**64 - 1, 2), key(8, 1), key(0, 1)])
    assert [None if ref is None else (ref.snapshot_id, ref.row) for ref in found] == [
        *((snapshot.id, row) for row in range(5)),
        *[None] * 5,
    ]


def test_states_that_several_snapshots_share_are_found_in_one_that_holds_them(tmp_path):
    keys = [key(row % 3, row) for row in range(12)]
    with DatasetWriter.open(tmp_path) as writer:
        for count in (4, 8, 12):
            writer.publish_source(people(count), keys[:count])
            known = writer.states().find(keys)
            assert [ref is not None for ref in known] == [row < count for row in range(12)]
            assert all(ref is None or ref.row == row for row, ref in enumerate(known))
    with DatasetWriter.open(tmp_path) as writer:
        for row, ref in enumerate(writer.states().find(keys)):
            assert writer.states().snapshot(ref.snapshot_id).keys[ref.row].tobytes() == keys[row]
        assert writer.states().find([]) == []


def test_an_image_keeps_its_own_names_when_its_state_is_taken_from_elsewhere(tmp_path):
    def named(split: str, uri: str, digest: str) -> Sample:
        graph = SceneGraph(9, 9, [Region(), Region()], [Relation(0, "on", 1)])
        return Sample("a", graph, uri, split, f"from-{split}", digest)

    step, key = StepRecord("judge", "filter", "t", "fp"), b"c" * KEY_BYTES
    with DatasetWriter.open(tmp_path) as writer:
        first = writer.publish_source([named("train", "r:old/a.png", "ab" * 32)], [b"a" * KEY_BYTES])
        writer.journal.put(
            [JournalRow(key, "a", "judge", pack_edit(Edit.reject(0, "far")), parent_key=b"a" * KEY_BYTES)]
        )
        writer.publish(step, first, [key], {"a": ("judge", "timeout")})
        moved = writer.publish_source([named("val", "r:new/a.png", "cd" * 32)], [b"a" * KEY_BYTES])
        snapshot = writer.publish(step, moved, [key])
    found = snapshot.sample(0)
    assert (found.split, found.source, found.uri, found.sha256) == ("val", "from-val", "r:new/a.png", "cd" * 32)
    # What failed elsewhere has not failed here.
    assert snapshot.rows().tolist() == [0]
    assert snapshot.column("image/failed_reason").tolist() == [-1]
    assert found.graph.all.relations[0].reason == "far"


@pytest.mark.parametrize("length", [KEY_BYTES - 1, 2 * KEY_BYTES, 32, 0])
def test_keys_of_another_length_are_refused_not_cut_or_joined(tmp_path, length):
    with DatasetWriter.open(tmp_path) as writer:
        for keys in ([b"a" * length] * 2, np.zeros((2, length), np.uint8)):
            with pytest.raises(DatasetError, match=f"a state key has {KEY_BYTES}"):
                writer.states().find(keys)
            with pytest.raises(DatasetError, match=f"a state key has {KEY_BYTES}"):
                writer.publish_source(people(2), keys)


def test_no_snapshot_or_an_empty_one_holds_no_state(tmp_path):
    with DatasetWriter.open(tmp_path) as writer:
        assert writer.states().find([key(1, 1)]) == [None]
        writer.publish_source([], [])
        assert writer.states().find([key(1, 1)]) == [None]


@pytest.mark.parametrize("name", ["lock", "journal.sqlite", "sgforge.json", "snapshots", "steps", "refs", "refs/heads"])
def test_a_dataset_is_not_written_through_a_link(tmp_path, name):
    data, outside = tmp_path / "data", tmp_path / "outside"
    with DatasetWriter.open(data) as writer:
        writer.publish_source(people(1), [key(1, 1)])
    if (data / name).exists():
        (data / name).rename(outside)
    else:
        outside.write_text("precious")
    (data / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in [outside, *outside.rglob("*")] if path.is_file()}
    with pytest.raises(DatasetError, match="is a link to elsewhere"):
        DatasetWriter.open(data)
    assert {path: path.read_bytes() for path in [outside, *outside.rglob("*")] if path.is_file()} == before


def test_a_new_dataset_is_not_made_over_a_link(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lock").symlink_to(precious)
    with pytest.raises(DatasetError, match="is a link to elsewhere"):
        DatasetWriter.open(tmp_path / "data")
    assert precious.read_text() == "keep me"


def test_a_folder_of_a_step_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    with DatasetWriter.open(tmp_path / "data") as writer:
        link: Path = tmp_path / "data" / "steps" / "abc"
        link.symlink_to(tmp_path / "outside")
        with pytest.raises(DatasetError, match="is a link to elsewhere"):
            writer.folder_for("abc")
