"""Digests of every file: what is found by them, datasets from before there were any, and what they keep from harm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zarr
from dataset.damaging import copied, flip, head, lineage
from dataset.plain import Source, run

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import Dataset, DatasetWriter, JournalRow, RunRecord, StepRecord
from sgforge.dataset.maintenance.upgrade import upgrade_dataset
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.edits import Edit
from sgforge.engine.reporting.progress import NoProgress
from sgforge.errors import DatasetError, StepError
from sgforge.graph import Relation
from sgforge.models.cache.store import Store
from sgforge.packed import pack_edit

WORDS = ("one", "two")


class Told(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("whole") / "data"
    run(data, *WORDS)
    return data


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return copied(whole, tmp_path / "data")


def made_old(data: Path) -> Path:
    """The dataset as it was written before there were digests."""
    shutil.rmtree(data / "seals")
    for root in data.glob("snapshots/*/zarr.json"):
        told = json.loads(root.read_bytes())
        del told["attributes"]["sgforge"]["files"]
        told["attributes"]["sgforge"]["schema"] = "2.0"
        root.unlink()
        root.write_text(json.dumps(told, indent=1))
        root.chmod(0o444)
    (data / "sgforge.json").write_text('{"format": "sgforge-dataset", "schema": "2.0"}\n')
    return data


def arrays(data: Path) -> dict[str, bytes]:
    """All arrays of branch main, read by plain zarr."""
    group = zarr.open_group(str(head(data)), mode="r")
    return {
        name: np.asarray(node[...]).tobytes() for name, node in group.members(max_depth=None) if hasattr(node, "shape")
    }


def test_every_file_of_a_version_is_stated_with_its_size(data):
    for snapshot_id in lineage(data):
        path = data / "snapshots" / snapshot_id
        told = json.loads((path / "zarr.json").read_bytes())["attributes"]["sgforge"]
        found = {file.relative_to(path).as_posix(): file.stat().st_size for file in path.rglob("*") if file.is_file()}
        del found["zarr.json"]
        assert told["schema"] == "2.1"
        assert {name: size for name, (size, _) in told["files"].items()} == found
        assert (data / "seals" / f"{snapshot_id}.seal").stat().st_size < 256


def test_a_dataset_of_schema_2_0_opens_says_so_and_is_upgraded_without_loss(data, capsys):
    old = made_old(data)
    before, ids = arrays(old), lineage(old)
    assert main(["verify", str(old)]) == 0
    assert (
        "note: 3 snapshots of schema 2.0: the metadata of groups and arrays has no digests" in capsys.readouterr().out
    )
    # What a run adds to it has digests, what was there is found again.
    assert [step.counts.computed for step in run(old, *WORDS, "more").steps] == [0, 0, 0, 6]
    assert "3 snapshots of schema 2.0" in verify_dataset(old).notes[0]
    assert main(["upgrade", str(old), "--json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["upgraded"]) == sorted(ids)
    assert main(["upgrade", str(old)]) == 0
    assert "nothing to upgrade" in capsys.readouterr().out
    assert (verify_dataset(old).problems, verify_dataset(old).notes) == ([], ())
    assert [step.counts.computed for step in run(old, *WORDS).steps] == [0, 0, 0]
    assert (arrays(old), lineage(old)) == (before, ids)
    flip(head(old) / "region" / "zarr.json", -2)  # a line that ends in another way
    assert len(verify_dataset(old).problems) == 1


def test_a_damaged_version_is_not_called_sound_by_an_upgrade(data, capsys):
    old = made_old(data)
    damaged = head(old)
    (damaged / "relation/predicate/c/0").unlink()
    assert main(["upgrade", str(old)]) == 1
    assert f"left as it is: snapshot {damaged.name}: damaged" in capsys.readouterr().out
    assert "files" not in json.loads((damaged / "zarr.json").read_bytes())["attributes"]["sgforge"]


def test_a_killed_upgrade_leaves_what_opens_and_is_done_again(data):
    old = made_old(data)
    before = arrays(old)
    killer = (
        "import os, signal, sys\n"
        "left, replace = int(sys.argv[2]), os.replace\n"
        "def dying(*paths):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return replace(*paths)\n"
        "os.replace = dying\n"
        "from pathlib import Path\n"
        "Path.replace = lambda self, target: dying(self, target)\n"
        "from sgforge.dataset.maintenance.upgrade import upgrade_dataset\n"
        "upgrade_dataset(sys.argv[1])\n"
    )
    for allowed in (0, 2, 3):
        done = subprocess.run([sys.executable, "-c", killer, str(old), str(allowed)], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL
        assert verify_dataset(old).problems == []
        assert arrays(old) == before
    upgrade_dataset(old)
    assert (verify_dataset(old).problems, verify_dataset(old).notes) == ([], ())


def test_a_damaged_version_that_nothing_leads_to_blocks_nothing(data, capsys):
    unnamed = data / "snapshots" / ("f" * 32)
    shutil.copytree(head(data), unnamed)
    (unnamed / "zarr.json").unlink()
    (unnamed / "zarr.json").write_text("{")
    told = Told()
    assert run(data, *WORDS, progress=told).status == "done"
    (note,) = [note for note in told.notes if "left out" in note]
    assert note.startswith("snapshot ffffffffffff is left out: it is damaged, and no branch or tag leads to it")
    for command in ("publish", "show", "stats", "log"):
        assert main([command, str(data)]) == 0
    assert main(["verify", str(data)]) == 1


def test_a_version_that_nothing_leads_to_is_not_believed_where_it_is_damaged(data, tmp_path):
    """The states of a stopped run stand in versions without a name: one of them is damaged behind its keys."""
    run(data, *WORDS, "more")
    unnamed = head(data)
    (data / "refs/heads/main").write_text(lineage(data)[1] + "\n")
    flip(unnamed / "relation/predicate/c/0", 3, 9)
    report = run(data, *WORDS, "more")
    assert report.step("more").counts.computed == 6
    assert head(data) == unnamed  # made anew; the damaged one lies aside
    assert len(list(data.glob(f"damaged/*/snapshots/{unnamed.name}"))) == 1
    assert verify_dataset(data).problems == []


def test_a_run_checks_the_version_that_it_hands_over(data):
    flip(head(data) / "region/label/c/0", 3)
    main_before = (data / "refs/heads/main").read_text()
    with pytest.raises(
        DatasetError, match=r"region/label/c/0: its bytes are not .* so branch main stays where it is: sgforge repair"
    ):
        run(data, *WORDS)
    # A step that adds to relations links the labels unread: its version is not handed over either.
    with pytest.raises(DatasetError, match="sgforge repair"):
        run(data, *WORDS, "more")
    assert (data / "refs/heads/main").read_text() == main_before


def journalled(data: Path, *edits: Edit) -> None:
    """Answers of a step that has not ended."""
    snapshot = Dataset.open(data).snapshot
    with DatasetWriter.open(data) as writer:
        writer.begin_run(RunRecord("r"))
        writer.begin_step(StepRecord("z", "complete", "z", "z"))
        for n, edit in enumerate(edits):
            parent = snapshot.keys[n].tobytes()
            writer.journal.put([JournalRow(bytes([n]) * 16, f"im{n}", "z", pack_edit(edit), parent_key=parent)])


def test_a_branch_never_moves_onto_what_verify_would_refuse(data, capsys):
    journalled(data, Edit.add(Relation(9000, "on", 0)), Edit.add(Relation(1, "under", 0)))
    before = (data / "refs/heads/main").read_text()
    assert len(verify_dataset(data).problems) == 1
    assert main(["publish", str(data)]) == 1
    assert "region 9000" in capsys.readouterr().err
    assert (data / "refs/heads/main").read_text() == before
    assert main(["repair", str(data)]) == 0
    assert "computes again: journal: the answer of step 'z' for image 'im0'" in capsys.readouterr().out
    assert main(["publish", str(data)]) == 0
    assert verify_dataset(data).problems == []
    assert [len(sample.graph.relations) for sample in Dataset.open(data)] == [3, 4, 3, 3, 3, 3]


def test_a_row_that_is_none_neither_hangs_nor_ends_a_command(data, capsys):
    journalled(data, Edit.add(Relation(1, "under", 0)), Edit.add(Relation(1, "over", 0)))
    with closing(sqlite3.connect(data / "journal.sqlite")) as base:
        base.execute("UPDATE answer SET calls = '{{' WHERE image_id = 'im0'")
        base.commit()
    done = subprocess.run(
        [str(Path(sys.executable).parent / "sgforge"), "publish", str(data)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "the answer of step 'z' for image 'im0' is damaged: it is left out" in done.stderr
    assert [len(sample.graph.relations) for sample in Dataset.open(data)] == [3, 4, 3, 3, 3, 3]


def test_a_log_that_a_killed_run_left_is_looked_at_frame_by_frame(data):
    code = (
        "import sys, os, signal\n"
        "from sgforge.dataset import DatasetWriter, JournalRow\n"
        "with DatasetWriter.open(sys.argv[1]) as writer:\n"
        "    for n in range(5): writer.journal.put([JournalRow(bytes([n]) * 16, 'im0', 'z', b'\\x90')])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(data)], check=False)
    log = data / "journal.sqlite-wal"
    problems = [problem for problem in verify_dataset(data).problems if "log" in problem]
    assert problems == []
    for place in (0, 17, 40, 60, log.stat().st_size - 5):
        flip(log, place)
        assert any("of its log is damaged" in problem for problem in verify_dataset(data).problems), place
        flip(log, place)


def test_paid_answers_have_a_seal_at_rest(data, capsys):
    path = data / "responses.sqlite"
    for _ in range(2):  # the second time nothing is written
        Store(path).close()
        assert verify_dataset(data).problems == []
    flip(path, -2000)  # in an empty page, where SQLite itself finds nothing
    assert verify_dataset(data).problems == ["responses: its bytes are not those that were written"]
    Store(path).close()  # whoever opens it meanwhile does not call it sound
    assert verify_dataset(data).problems == ["responses: its bytes are not those that were written"]
    flip(path, -2000)
    Store(path).close()
    assert verify_dataset(data).problems == []
    with closing(sqlite3.connect(path)) as base:
        base.execute("DROP TABLE call")
    Path(f"{path}.seal").unlink()
    assert main(["verify", str(data)]) == 1
    assert "problem: responses: table call is gone" in capsys.readouterr().out


def test_a_report_and_choices_that_were_changed_are_refused_and_made_again(tmp_path):
    data = tmp_path / "data"
    pipeline = sg.Pipeline(sg.train("prior"), sg.evaluate("predcls", on={"split": "train"}))
    assert pipeline.run(Source(), data, progress=False).status == "done"
    assert verify_dataset(data).problems == []
    (report,) = data.glob("steps/*/report.json")
    (predictions,) = data.glob("steps/*/predictions.jsonl")
    (checkpoint,) = data.glob("steps/*/checkpoint.json")
    for path in (report, predictions, checkpoint):
        flip(path, 5, 9)
        (problem,) = verify_dataset(data).problems
        assert problem.endswith(f"{path.name}: its bytes are not those that were written")
        with pytest.raises(StepError, match=f"{path.name} is damaged .*: sgforge repair"):
            pipeline.run(Source(), data, progress=False)
        assert main(["repair", str(data)]) == 0
        assert pipeline.run(Source(), data, progress=False).status == "done"
        assert verify_dataset(data).problems == []


@pytest.mark.parametrize("number", ["files", "rows"])
def test_a_number_that_a_bad_byte_made_endless_is_damage(data, number):
    root = head(data) / "zarr.json"
    told = json.loads(root.read_bytes())["attributes"]["sgforge"]
    digit = told["files"]["region/box/c/0/0"][1] if number == "files" else told["arrays"]["region/box"]["crc32c"]
    # As where a bad byte makes an e of a digit.
    content = root.read_bytes().replace(str(digit).encode(), b"1e" + b"9" * (len(str(digit)) - 2))
    root.unlink()
    root.write_bytes(content)
    root.chmod(0o444)
    (problem,) = verify_dataset(data).problems
    assert "zarr.json" in problem
    assert main(["repair", str(data)]) == 0
    assert verify_dataset(data).problems == []


@pytest.mark.parametrize("name", ["main", "good"])
def test_a_branch_or_tag_holds_nothing_but_an_id(data, name):
    with DatasetWriter.open(data) as writer:
        writer.tag("good", head(data).name)
    path = next(data.glob(f"refs/*/{name}"))
    assert verify_dataset(data).problems == []
    flip(path, -1)  # a vertical tab, which reads as the end of a line
    assert len(verify_dataset(data).problems) == 1
    assert main(["repair", str(data)]) == 0
    assert path.read_text() == f"{head(data).name}\n"


def test_the_marker_does_not_say_an_older_schema_than_there_is(data):
    (data / "sgforge.json").write_text('{"format": "sgforge-dataset", "schema": "2.0"}\n')
    (problem,) = verify_dataset(data).problems
    assert problem == "sgforge.json says schema 2.0, and there are snapshots of schema 2.1"
    assert os.stat(data / "lock").st_size == 0  # what is not written cannot be damaged
