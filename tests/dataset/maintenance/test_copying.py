"""A copy of a dataset: sound, with its links, there whole or not at all, also while a run writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from dataset.made import TEACHER, TEACHER_EDITS, answers, make_dataset
from dataset.maintenance.growing import Config, Source, Student, Teacher, computed, run
from support.waiting import LONGEST, wait_until

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import Dataset, DatasetWriter
from sgforge.dataset.in_use import Hold
from sgforge.dataset.maintenance import copying
from sgforge.dataset.maintenance.copying import copy_dataset
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.errors import DatasetError, StepError

EVERYTHING = Config(shade=40, amount=2, rate=1, generates=True, evaluates=True)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """Branch main without pictures, branch draft with pictures, weights and a report, tag v1; one unnamed version."""
    data = tmp_path_factory.mktemp("grown") / "data"
    run(data, Config(amount=3))
    run(data, EVERYTHING, "draft")
    run(data, Config(amount=1))
    with DatasetWriter.open(data) as writer:
        writer.tag("v1", writer.resolve("draft"))
    return data


@pytest.fixture
def data(grown: Path, tmp_path: Path) -> Path:
    """The same, with its own files, and shared ones shared."""
    subprocess.run(["cp", "-a", str(grown), str(tmp_path / "data")], check=True)
    return tmp_path / "data"


def contents(data: Path) -> dict[str, bytes]:
    """The bytes of all files but those of SQLite, which copies row by row."""
    files = (path for path in data.rglob("*") if path.is_file() and "sqlite" not in path.name and path.name != "lock")
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in files}


def links(data: Path) -> set[frozenset[str]]:
    """Names of files that are one."""
    found: dict[int, set[str]] = {}
    for path in (data / "snapshots").rglob("*"):
        if path.is_file():
            found.setdefault(path.stat().st_ino, set()).add(path.relative_to(data).as_posix())
    return {frozenset(names) for names in found.values() if len(names) > 1}


def test_a_copy_is_all_of_it_with_its_links(data, tmp_path):
    copied = copy_dataset(data, tmp_path / "far" / "copy")
    copy = tmp_path / "far" / "copy"
    assert contents(copy) == contents(data)
    assert links(copy) == links(data)
    assert len(links(copy)) > 10
    assert copied.links == sum(len(names) - 1 for names in links(data))
    assert (copied.versions, copied.left_out) == (6, ())
    assert copied.refs == {"draft": "branch", "main": "branch", "v1": "tag"}
    kept = {path.stat().st_ino: path.stat().st_size for path in copy.rglob("*") if path.is_file()}
    assert (copied.files, copied.bytes) == (len(kept), sum(kept.values()))
    assert {path.stat().st_mode & 0o777 for path in (copy / "snapshots").rglob("*") if path.is_file()} == {0o444}
    assert os.listdir(tmp_path / "far") == ["copy"]
    assert verify_dataset(copy).problems == []
    assert computed(run(copy, EVERYTHING, "draft")) == 0


def test_a_copy_of_one_version_has_what_belongs_to_it_and_nothing_else(data, tmp_path):
    (data / "responses.sqlite").unlink(missing_ok=True)
    with closing(sqlite3.connect(data / "responses.sqlite")) as base:
        base.execute("CREATE TABLE paid (answer TEXT)")
    copied = copy_dataset(data, tmp_path / "copy", "v1")
    dataset = Dataset.open(tmp_path / "copy")
    assert dataset.snapshot.id == Dataset.open(data, "v1").snapshot.id
    assert (dataset.branches().keys(), dataset.tags().keys()) == ({"main"}, {"v1"})
    assert copied.versions == len(dataset.log()) == 4
    assert copied.left_out == ("unpublished answers, and the paid answers of models",)
    assert not (tmp_path / "copy" / "responses.sqlite").exists()
    assert verify_dataset(tmp_path / "copy").problems == []
    assert computed(run(tmp_path / "copy", EVERYTHING)) == 0
    copy_dataset(data, tmp_path / "bare", "main")
    assert not (tmp_path / "bare" / "files").exists()
    assert os.listdir(tmp_path / "bare" / "steps") == []
    assert computed(run(tmp_path / "bare", Config(amount=1))) == 0


def test_unpublished_answers_go_along_with_the_whole_and_stay_behind_with_a_part(tmp_path):
    *_, last = make_dataset(tmp_path / "data")
    with DatasetWriter.open(tmp_path / "data") as writer:
        rows = answers(last, attrs.evolve(TEACHER, name="other"), {"a": TEACHER_EDITS["b"]})
        writer.journal.put(rows)
        copy_dataset(tmp_path / "data", tmp_path / "whole")
        copy_dataset(tmp_path / "data", tmp_path / "part", "main")
    for name, found in (("whole", {rows[0].key}), ("part", set())):
        with DatasetWriter.open(tmp_path / name) as writer:
            assert writer.journal.has([rows[0].key]) == found
    assert b"call-other" not in (tmp_path / "part" / "journal.sqlite").read_bytes()


def test_an_unfinished_training_is_copied_unless_it_goes_on(tmp_path, monkeypatch):
    data = tmp_path / "data"
    pipeline = sg.Pipeline(sg.complete(Teacher(1)), sg.train(Student(1, stops=True)))
    with pytest.raises(StepError):
        pipeline.run(Source(), data, progress=False)
    (state,) = data.glob("steps/*/out/state")
    assert copy_dataset(data, tmp_path / "copy").left_out == ()
    assert [path.read_text() for path in (tmp_path / "copy").glob("steps/*/out/state")] == ["begun"]
    copy_file = copying._Copy._copy_file

    def and_goes_on(self, source, target):
        copy_file(self, source, target)
        if source == state:
            state.write_text("begun, and gone on")

    monkeypatch.setattr(copying._Copy, "_copy_file", and_goes_on)
    (told,) = copy_dataset(data, tmp_path / "other").left_out
    assert told == f"step folder {state.parts[-3][:12]}, in which a run is at work"
    assert list((tmp_path / "other").glob("steps/*")) == []


def test_copies_beside_a_run_are_sound(tmp_path):
    data = tmp_path / "data"
    run(data, Config(amount=1))
    is_done = threading.Event()

    def runs() -> None:
        for amount in range(2, 7):
            run(data, Config(amount=amount, shade=20 * amount, rate=amount, generates=True))
        is_done.set()

    thread = threading.Thread(target=runs)
    thread.start()
    number = 0
    while number < 3 or not is_done.is_set():
        copied = copy_dataset(data, tmp_path / f"copy {number}")
        assert copied.versions >= 2
        shutil.rmtree(tmp_path / f"copy {number}")
        number += 1
    thread.join()
    copy_dataset(data, tmp_path / "last")
    assert computed(run(tmp_path / "last", Config(amount=6, shade=120, rate=6, generates=True))) == 0


def test_a_copy_without_modes_is_one_problem_and_is_copied_with_them(data, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(data, bare, copy_function=shutil.copyfile)
    (problem,) = verify_dataset(bare).problems
    count = sum(path.is_file() for path in (data / "snapshots").rglob("*"))
    assert problem.startswith(f"{count} files of 6 snapshots can be written, such as ")
    copy_dataset(bare, tmp_path / "copy")
    assert verify_dataset(tmp_path / "copy").problems == []


def test_what_is_damaged_is_not_copied_but_a_sound_version_of_it_is(data, tmp_path):
    head = Dataset.open(data, "draft").snapshot.path
    path = next(path for path in (head / "relation/predicate/c").rglob("*") if path.is_file())
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)
    with pytest.raises(DatasetError, match="the copy is not sound, so it was not kept: 1 problem, the first: "):
        copy_dataset(data, tmp_path / "copy")
    assert sorted(os.listdir(tmp_path)) == ["data"]
    copy_dataset(data, tmp_path / "copy", "main")
    assert verify_dataset(tmp_path / "copy").problems == []


def test_a_place_that_is_taken_or_within_or_too_small_is_refused(data, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(DatasetError, match="is there already; give a name that is not"):
        copy_dataset(data, tmp_path / "there")
    with pytest.raises(DatasetError, match="give a place outside of the dataset"):
        copy_dataset(data, data / "snapshots" / "copy")
    work = tmp_path / ".copy.sgforge-copy"
    work.mkdir()
    (work / "left").write_text("of a killed one")
    hold = Hold.alone(work)
    with pytest.raises(DatasetError, match="is being made by another copy"):
        copy_dataset(data, tmp_path / "copy")
    assert (work / "left").exists()
    hold.release()
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(copying.shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(DatasetError, match=r"has 0\.0 GB left, the versions alone need"):
            copy_dataset(data, tmp_path / "copy")
    assert sorted(os.listdir(tmp_path)) == ["data", "there"]
    (data / "snapshots" / Dataset.open(data).snapshot.id / "extra").symlink_to("/etc/hostname")
    with pytest.raises(DatasetError, match="extra is a link to elsewhere: refused"):
        copy_dataset(data, tmp_path / "copy")


def test_a_killed_copy_leaves_nothing_at_its_place_and_the_next_one_clears_up(data, tmp_path):
    stop = "import os, sgforge.dataset.maintenance.copying as c; c.sync_file = lambda path: os.kill(os.getpid(), 9)"
    code = f"{stop}; c.copy_dataset({str(data)!r}, {str(tmp_path / 'copy')!r})"
    process = subprocess.run([sys.executable, "-c", code], check=False, timeout=LONGEST)
    assert process.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == [".copy.sgforge-copy", "data"]
    copy_dataset(data, tmp_path / "copy")
    assert sorted(os.listdir(tmp_path)) == ["copy", "data"]


def test_gc_waits_for_a_copy(data, tmp_path, monkeypatch, capsys):
    met, goes_on = threading.Event(), threading.Event()

    def waits(path):
        met.set()
        goes_on.wait(LONGEST)

    monkeypatch.setattr(copying, "sync_folder", waits)
    thread = threading.Thread(target=copy_dataset, args=(data, tmp_path / "copy"))
    thread.start()
    wait_until(met.is_set, "the copy was made")
    assert main(["gc", str(data), "--keep-days", "0", "--yes"]) == 1
    assert "is being checked or copied: nothing was removed" in capsys.readouterr().err
    goes_on.set()
    thread.join()


def test_the_command_says_what_was_copied(data, tmp_path, capsys):
    assert main(["copy", f"{data}@v1", str(tmp_path / "copy")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'copy'}: 4 versions (branch main, tag v1), ")
    assert second == "left out: unpublished answers, and the paid answers of models"
    assert main(["copy", str(data), str(tmp_path / "other"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["versions"] == 6
    assert told["links"] > 10
    assert main(["copy", f"{data}@v9", str(tmp_path / "third")]) == 1
    assert "has no branch, tag or snapshot 'v9'" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()
