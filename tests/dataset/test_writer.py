"""The writer: the journal, one writer at a time, foreign folders, a full disk, verify."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import contextmanager, suppress

import attrs
import numpy as np
import pytest
from dataset.given import key_of
from dataset.made import FILTER, TEACHER, TEACHER_EDITS, answers, keys_after, make_dataset, three_samples
from support.opened import open_below

from sgforge.dataset import Dataset, DatasetWriter, JournalRow, RunRecord, Snapshot, StepRecord
from sgforge.dataset.journal import FileHash
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.dataset.states.known_states import KnownWork
from sgforge.edits import Edit
from sgforge.errors import DatasetError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.packed import pack_edit


def row(number: int, size: int = 10) -> JournalRow:
    return JournalRow(
        key_of(number), f"im{number}", "step", os.urandom(size), ("c",), "run", {"duplicate": 1}, key_of(-1)
    )


def test_the_journal_gives_back_what_was_put_also_after_reopening(tmp_path):
    rows = [row(number) for number in range(1200)]
    with DatasetWriter.open(tmp_path) as writer:
        writer.journal.put(rows)
        writer.journal.put([JournalRow(rows[0].key, "other", "other", b"later")])
        writer.journal.begin_run(RunRecord("r", "{}", {"a": "1"}, "2026"))
        writer.journal.begin_step(TEACHER)
    with DatasetWriter.open(tmp_path) as writer:
        assert writer.journal.get([row.key for row in rows]) == {row.key: row for row in rows}
        assert writer.journal.get([key_of("no")]) == {}
        assert writer.journal.has([rows[3].key, key_of("no")]) == {rows[3].key}
        assert len(writer.journal) == 1200
        assert writer.journal.runs() == [RunRecord("r", "{}", {"a": "1"}, "2026")]
        assert writer.journal.step("complete") == StepRecord("complete", "complete", "svg", "fp1", TEACHER.options_json)
        assert writer.journal.step("unknown") == StepRecord("unknown", "", "", "")


def test_answers_kept_on_an_event_loop_are_durable_when_it_is_told_and_share_transactions(tmp_path):
    reserve = tmp_path / "journal.sqlite-ballast"
    reserve.write_text("left by a killed run")
    rows = [row(number) for number in range(51)]

    async def keep(journal, number: int) -> None:
        await journal.keep([rows[number]])
        assert KnownWork.open(tmp_path).answered([rows[number].key]) == {rows[number].key}

    async def keep_all(journal) -> None:
        await journal.keep([])
        assert not reserve.exists(), "nothing is held where nothing is kept"
        await asyncio.gather(*(keep(journal, number) for number in range(50)))
        assert reserve.stat().st_size == 500_000

    with DatasetWriter.open(tmp_path) as writer:
        asyncio.run(keep_all(writer.journal))
        writer.journal.put([rows[50]])
        assert len(writer.journal) == 51
    assert not reserve.exists()
    with DatasetWriter.open(tmp_path) as writer:
        assert writer.journal.get([one.key for one in rows]) == {one.key: one for one in rows}


def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_kept(tmp_path):
    async def keep_all(journal) -> list[object]:
        return await asyncio.gather(
            *(journal.keep([row(number, 2000)]) for number in range(40)), return_exceptions=True
        )

    with DatasetWriter.open(tmp_path) as writer:
        asyncio.run(writer.journal.keep([row(40)]))
        # As large as the file may get: what SQLite says then is what it says on a full disk.
        pages = writer.journal._base.execute("PRAGMA page_count").fetchone()[0]
        writer.journal._base.execute(f"PRAGMA max_page_count={pages + 2}")
        told = asyncio.run(keep_all(writer.journal))
        errors = [str(one) for one in told if one is not None]
        assert errors
        assert all("journal.sqlite: the disk is full" in error and "run again" in error for error in errors)
        acknowledged = {row(number).key for number, one in enumerate(told) if one is None} | {row(40).key}
        assert acknowledged <= writer.journal.has([row(number).key for number in range(41)])
        with pytest.raises(DatasetError, match="the disk is full"):
            asyncio.run(writer.journal.keep([row(41)]))
    with DatasetWriter.open(tmp_path) as writer:
        assert acknowledged <= writer.journal.has([row(number).key for number in range(41)])
    assert not (tmp_path / "journal.sqlite-ballast").exists()


@pytest.mark.parametrize("gone", [3, 2500, 3000])
def test_forgotten_answers_are_gone_after_closing_and_the_others_stay(tmp_path, gone):
    rows = [row(number, 2000) for number in range(3000)]
    with DatasetWriter.open(tmp_path) as writer:
        writer.journal.put(rows)
        writer.journal.remember_sha256([FileHash("coco:a.jpg", 3, 4, "ab")])
        writer.journal.forget(row.key for row in rows[:gone])
        assert len(writer.journal) == 3000 - gone
    with DatasetWriter.open(tmp_path) as writer:
        assert writer.journal.has([row.key for row in rows]) == {row.key for row in rows[gone:]}
        assert writer.journal.sha256("coco:a.jpg", 3, 4) == "ab"
        assert [entry[2] for entry in writer.journal.unpublished()] == [row.image_id for row in rows[gone:]]
    assert sorted(path.name for path in tmp_path.glob("journal*")) == ["journal.sqlite"]
    if gone == 3000:
        assert (tmp_path / "journal.sqlite").stat().st_size < 200_000


def test_what_is_remembered_again_takes_the_place_of_what_was(tmp_path):
    """A step with other options, a run that goes on, and a file that was changed."""
    changed = StepRecord("complete", "complete", "svg", "fp-other", '{"model":"fake/two"}')
    with DatasetWriter.open(tmp_path) as writer:
        for step, config, size, digest in ((TEACHER, "{}", 3, "ab"), (changed, '{"seed":2}', 5, "cd")):
            writer.begin_step(step)
            writer.begin_run(RunRecord("r", config, {}, "2026"))
            writer.journal.remember_sha256([("coco:a.jpg", size, 4, digest)])
        assert writer.journal.step("complete") == changed
        assert [run.config_json for run in writer.journal.runs()] == ['{"seed":2}']
        assert writer.journal.sha256("coco:a.jpg", 5, 4) == "cd"
        known = KnownWork.open(tmp_path)
        assert known.hashes([("coco:a.jpg", 5, 4), ("coco:a.jpg", 4, 4), ("coco:a.jpg", 5, 5)]) == ["cd", None, None]
        assert known.hashes([("coco:a.jpg", 6, 4), ("coco:a.jpg", 5, 3)]) == [None, None]
        assert known.hashes([("coco:b.jpg", 5, 4)]) == [None]


def test_more_answers_than_one_question_takes_are_found_without_opening_to_write(tmp_path):
    rows = [row(number) for number in range(1200)]
    with DatasetWriter.open(tmp_path) as writer:
        writer.journal.put(rows)
    wanted = [row.key for row in rows]
    assert KnownWork.open(tmp_path).answered([*wanted, key_of("no")]) == set(wanted)


def test_hashes_of_files_hold_only_for_the_same_size_and_time(tmp_path):
    with DatasetWriter.open(tmp_path) as writer:
        writer.journal.remember_sha256([("coco:a.jpg", 10, 20, "ab"), FileHash("coco:b.jpg", 1, 2, "cd")])
        assert writer.journal.sha256("coco:a.jpg", 10, 20) == "ab"
        for size, time in ((10, 21), (10, 19), (11, 20), (9, 20)):
            assert writer.journal.sha256("coco:a.jpg", size, time) is None
        assert writer.journal.sha256("coco:b.jpg", 1, 2) == "cd"
        writer.journal.remember_sha256([("coco:a.jpg", 11, 21, "ef")])
        assert writer.journal.sha256("coco:a.jpg", 11, 21) == "ef"


def test_a_second_writer_is_refused_with_the_firsts_process(tmp_path):
    with DatasetWriter.open(tmp_path):
        with pytest.raises(DatasetError, match=f"process {os.getpid()} on"):
            DatasetWriter.open(tmp_path)
        code = "import sys; from sgforge.dataset import DatasetWriter; DatasetWriter.open(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
        assert f"is being written by process {os.getpid()}" in done.stderr
    DatasetWriter.open(tmp_path).close()


def test_another_programs_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DatasetError, match=r"'thesis\.tex' and no dataset"):
        DatasetWriter.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "sgforge.json").write_text('{"format": "something else"}')
    with pytest.raises(DatasetError, match="not the marker"):
        DatasetWriter.open(tmp_path)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(DatasetError):
        DatasetWriter.open(file)
    with pytest.raises(DatasetError, match="does not exist"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no sgforge dataset"):
        Dataset.open(tmp_path.parent)


def test_a_folder_made_for_nothing_is_taken_away_and_any_other_stays(tmp_path):
    def fail(path, put=()):
        with suppress(ValueError), DatasetWriter.open(path) as writer:
            writer.journal.put(put)
            raise ValueError("broken")

    fail(tmp_path / "runs" / "first")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs").mkdir()
    fail(tmp_path / "runs" / "first")
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]
    fail(tmp_path / "runs" / "first", [row(1)])
    with DatasetWriter.open(tmp_path / "runs" / "first") as writer:
        assert len(writer.journal) == 1
    (tmp_path / "empty").mkdir()
    fail(tmp_path / "empty")
    assert (tmp_path / "empty").is_dir()
    make_dataset(tmp_path / "made")
    fail(tmp_path / "made")
    assert len(Dataset.open(tmp_path / "made")) == 3


def test_a_journal_that_cannot_be_opened_or_read_leaves_nothing_open(tmp_path):
    DatasetWriter.open(tmp_path).close()
    (tmp_path / "journal.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DatasetError, match=r"journal\.sqlite"):
        DatasetWriter.open(tmp_path)
    assert open_below(tmp_path) == []

    def ask_at_the_end(folder):
        with DatasetWriter.open(folder) as writer:
            writer.journal.close()
            raise ValueError("a new folder's journal is asked what it holds")

    with pytest.raises(DatasetError, match="closed database"):
        ask_at_the_end(tmp_path / "new")
    assert open_below(tmp_path) == []
    DatasetWriter.open(tmp_path / "new").close()


def test_leftovers_of_a_killed_writer_go_with_the_next_writer_not_with_a_reader(tmp_path):
    snapshots = make_dataset(tmp_path)
    half = tmp_path / f"snapshots/.tmp-{'0' * 32}-99"
    (half / "image").mkdir(parents=True)
    (half / "image/x").write_text("x")
    torn = tmp_path / "refs/heads/.main.99.tmp"
    torn.write_text("0123")
    assert len(Dataset.open(tmp_path)) == 3
    assert half.exists()
    assert torn.exists()
    with DatasetWriter.open(tmp_path) as writer:
        assert writer.snapshot_ids() == sorted(snapshot.id for snapshot in snapshots)
    assert not half.exists()
    assert not torn.exists()


def test_tags_never_move(tmp_path):
    first, second, _ = make_dataset(tmp_path)
    with DatasetWriter.open(tmp_path) as writer:
        writer.tag("round-1", first.id)
        writer.tag("round-1", first.id)
        with pytest.raises(DatasetError, match="never moves"):
            writer.tag("round-1", second.id)
        with pytest.raises(DatasetError, match="is a branch"):
            writer.tag("main", first.id)
        with pytest.raises(DatasetError, match="no snapshot"):
            writer.tag("x", "0" * 32)
        for name in ("../x", "", ".x", "a/b", "a\n", "é"):
            with pytest.raises(DatasetError, match="no name of a branch"):
                writer.tag(name, first.id)
    assert Dataset.open(tmp_path, "round-1").snapshot.id == first.id


def test_folders_of_steps_stay_inside(tmp_path):
    with DatasetWriter.open(tmp_path) as writer:
        folder = writer.folder_for("abc123")
        assert folder == tmp_path / "steps/abc123"
        assert folder.is_dir()
        for name in ("../x", "a/b", "", "."):
            with pytest.raises(DatasetError, match="no fingerprint"):
                writer.folder_for(name)


@contextmanager
def small_disk(path, size="8m"):
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield path
    finally:
        # Lazily: snapshots that the test still holds have files of the disk mapped.
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount command")
def test_a_full_disk_loses_nothing_that_was_finished(tmp_path):
    samples = three_samples()
    with small_disk(tmp_path / "disk") as disk:
        folder = disk / "dataset"
        with DatasetWriter.open(folder) as writer:
            source = writer.publish_source(samples, [key_of(sample.image_id) for sample in samples])
            writer.move_branch("main", source)
            rows = answers(source, TEACHER, TEACHER_EDITS)
            writer.journal.put(rows)
        filler = disk / "filler"
        with DatasetWriter.open(folder) as writer:
            _fill(filler)
            acknowledged = _put_until_full(writer)
            with pytest.raises(DatasetError, match=r"cannot write|full"):
                writer.publish(TEACHER, source, keys_after(source, rows))
        assert not list(folder.glob("snapshots/.tmp-*"))
        assert Dataset.open(folder).snapshot.id == source.id
        filler.unlink()
        with DatasetWriter.open(folder) as writer:
            assert writer.journal.has(acknowledged) == set(acknowledged)
            child = writer.publish(TEACHER, source, keys_after(source, rows))
            writer.move_branch("main", child)
        assert len(child.graph(0).all.relations) == 3
        assert verify_dataset(folder).problems == []


def _fill(path) -> None:
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass
        # A little is left, so that some answers are still acknowledged.
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 200_000)


def _put_until_full(writer: DatasetWriter) -> list[bytes]:
    acknowledged: list[bytes] = []
    for number in range(10_000):
        edit = pack_edit(Edit.set("region", 0, label="x" * 3000))
        given = attrs.evolve(row(number), edit=edit)
        message = _put(writer, given)
        if message:
            assert "acknowledged before is kept" in message
            break
        acknowledged.append(given.key)
    assert 0 < len(acknowledged) < 10_000
    return acknowledged


def _put(writer: DatasetWriter, given: JournalRow) -> str | None:
    """What went wrong, if anything did."""
    try:
        writer.journal.put([given])
    except DatasetError as error:
        return str(error)
    return None


# Every fourth file: all three places, and arrays of every level.
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_verify_finds_a_flipped_byte_in_every_file_of_every_array(tmp_path, every):
    make_dataset(tmp_path)
    assert verify_dataset(tmp_path).problems == []
    path = Dataset.open(tmp_path).snapshot.path
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and "c" in file.relative_to(path).parts]
    assert len(files) > 30
    for file in files[::every]:
        data = file.read_bytes()
        # In turn the first chunk, the index and its checksum.
        for position in [(0, len(data) // 2, len(data) - 1)[files.index(file) % 3]]:
            damaged = bytearray(data)
            damaged[position] ^= 64
            _replace(file, bytes(damaged))
            problems = verify_dataset(tmp_path).problems
            assert problems, f"{file} byte {position}"
            assert any(str(file.parent.parent.relative_to(path)).split("/c")[0] in text for text in problems)
        _replace(file, data)
    assert verify_dataset(tmp_path).problems == []


def _replace(file, data: bytes) -> None:
    """New content under a new inode, so that other snapshots that share the file keep theirs."""
    file.unlink(missing_ok=True)
    file.write_bytes(data)
    file.chmod(0o444)


def test_verify_finds_lost_chunks_loose_modes_torn_refs_and_bad_answers(tmp_path):
    make_dataset(tmp_path)
    path = Dataset.open(tmp_path).snapshot.path
    chunk = path / "relation/predicate/c/0"
    data = chunk.read_bytes()
    chunk.unlink()
    # Without the checksum of the whole, a lost chunk would read as fill values.
    assert Snapshot.open(path).column("relation/predicate").tolist() == [-1] * 5
    assert any("relation/predicate" in text and "lost" in text for text in verify_dataset(tmp_path).problems)
    _replace(chunk, data)
    chunk.chmod(0o644)
    assert any("can be written" in text for text in verify_dataset(tmp_path).problems)
    chunk.chmod(0o444)
    (tmp_path / "refs/tags/lost").write_text("0" * 32)
    assert any("tags/lost" in text for text in verify_dataset(tmp_path).problems)
    (tmp_path / "refs/tags/lost").unlink()
    base = sqlite3.connect(tmp_path / "journal.sqlite")
    base.execute("INSERT INTO answer VALUES (1, x'00', 'a', 's', x'c1', '[]', '', '{}', x'', NULL)")
    base.commit()
    base.close()
    found = verify_dataset(tmp_path)
    assert found.answers == 1
    assert any("of step 's' for image 'a' cannot be unpacked" in text for text in found.problems)


def test_equal_data_has_equal_sha256_in_two_copies(tmp_path):
    make_dataset(tmp_path / "one")
    make_dataset(tmp_path / "two")
    digests = [
        {check.snapshot_id: check.sha256 for check in verify_dataset(tmp_path / name).snapshots}
        for name in ("one", "two")
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0].values())) == 3


def test_an_image_with_70000_regions_goes_through(tmp_path):
    regions = [Region(f"l{index % 7}", (index % 500, 0, index % 500 + 1, 5)) for index in range(70_000)]
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source([Sample("big", SceneGraph(600, 10, regions))], [key_of(1)])
        key = key_of(2)
        writer.journal.put([JournalRow(key, "big", "filter", pack_edit(Edit.reject(69_999, "low", target="region")))])
        child = writer.publish(FILTER, source, [key])
    assert np.flatnonzero(child.column("region/status")).tolist() == [69_999]
