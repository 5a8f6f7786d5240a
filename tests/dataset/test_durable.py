"""What must survive a power cut: every file is made durable before it gets its name, and every name after that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sgforge.dataset import DatasetWriter, JournalRow, Snapshot, StepRecord
from sgforge.durable import make_folder
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit
from sgforge.statekey import KEY_BYTES


def graph() -> SceneGraph:
    return SceneGraph(100, 80, [Region("cat", (0, 0, 9, 9)), Region("mat", (0, 5, 50, 50))], [Relation(0, "on", 1)])


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """("sync", path) and ("name", path) in the order in which the writer asks the system for them."""
    seen: list[tuple[str, str]] = []
    sync, rename, replace = os.fsync, Path.rename, Path.replace

    def watched_sync(handle: int) -> None:
        seen.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    def watched(move):
        def moved(path: Path, target: Path) -> Path:
            seen.append(("name", str(target)))
            return move(path, target)

        return moved

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "rename", watched(rename))
    monkeypatch.setattr(Path, "replace", watched(replace))
    return seen


def publish(writer: DatasetWriter) -> tuple[Snapshot, Snapshot]:
    source = writer.publish_source([Sample("a", graph()), Sample("b", graph())], [b"a" * KEY_BYTES, b"b" * KEY_BYTES])
    row = JournalRow(b"c" * KEY_BYTES, "a", "judge", pack_edit(Edit.reject(0, "far", 0.5)), parent_key=b"a" * KEY_BYTES)
    writer.journal.put([row])
    return source, writer.publish(
        StepRecord("judge", "filter", "t", "fp"), source, [b"c" * KEY_BYTES, b"b" * KEY_BYTES]
    )


def test_a_snapshot_is_durable_before_it_has_its_name_and_its_name_after(tmp_path, events):
    with DatasetWriter.open(tmp_path) as writer:
        for snapshot in publish(writer):
            name = events.index(("name", str(snapshot.path)))
            before = {path for kind, path in events[:name] if kind == "sync"}
            fresh = [path for path in snapshot.path.rglob("*") if path.is_dir() or path.stat().st_nlink == 1]
            assert fresh
            work = next(path for path in before if f".tmp-{snapshot.id}" in path).partition(f".tmp-{snapshot.id}")
            folder = work[0] + work[1] + work[2].partition("/")[0]
            assert {f"{folder}/{path.relative_to(snapshot.path)}" for path in fresh} <= before
            assert folder in before
            assert events[name + 1] == ("sync", str(tmp_path / "snapshots"))


def test_files_that_snapshots_share_were_durable_before(tmp_path, events):
    with DatasetWriter.open(tmp_path) as writer:
        source, judged = publish(writer)
        shared = {path for path in judged.path.rglob("*") if path.is_file() and path.stat().st_nlink > 1}
        assert {path.relative_to(judged.path) for path in shared} <= {
            path.relative_to(source.path) for path in source.path.rglob("*")
        }
        assert len(shared) > 50


def test_a_branch_is_durable_before_and_after_it_moves(tmp_path, events):
    with DatasetWriter.open(tmp_path) as writer:
        _, snapshot = publish(writer)
        events.clear()
        writer.move_branch("main", snapshot)
    heads = tmp_path / "refs" / "heads"
    assert [kind for kind, _ in events[:3]] == ["sync", "name", "sync"]
    assert Path(events[0][1]).parent == heads
    assert events[1:3] == [("name", str(heads / "main")), ("sync", str(heads))]


def test_every_commit_of_the_journal_waits_for_the_disk(tmp_path):
    with DatasetWriter.open(tmp_path) as writer:
        # 2 is FULL: with the log's default a commit could be lost in a power cut after it was acknowledged.
        assert writer.journal._base.execute("PRAGMA synchronous").fetchone() == (2,)
        assert writer.journal._base.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_new_dataset_is_durable_in_the_folders_above_it(tmp_path, events):
    DatasetWriter.open(tmp_path / "runs" / "first").close()
    synced = [path for kind, path in events if kind == "sync"]
    # First the name of "runs", then that of "first" in it, then what makes the folder a dataset.
    marked = events.index(("name", str(tmp_path / "runs" / "first" / "sgforge.json")))
    assert synced.index(str(tmp_path)) < synced.index(str(tmp_path / "runs"))
    assert events.index(("sync", str(tmp_path / "runs"))) < marked


def test_folders_that_are_there_are_not_made_durable_again(tmp_path, events):
    make_folder(tmp_path / "a" / "b")
    assert events == [("sync", str(tmp_path)), ("sync", str(tmp_path / "a"))]
    make_folder(tmp_path / "a" / "b")
    assert len(events) == 2


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        make_folder(tmp_path / "a" / "b")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "a")
