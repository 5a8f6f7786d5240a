"""`sgforge gc`, `branch`, `untag` and `log --all` as people and scripts use them."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dataset.made import make_dataset
from dataset.maintenance.growing import Config, run
from support.waiting import LONGEST

from sgforge.cli.main import main
from sgforge.dataset import Dataset, DatasetWriter


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Branch main at the first of three versions, the others without a name."""
    data = tmp_path_factory.mktemp("made") / "data"
    first, *_ = make_dataset(data)
    with DatasetWriter.open(data) as writer:
        writer.move_branch("main", first)
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def sgforge(capsys):
    """Run the command line: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_it_shows_what_would_go_and_removes_it_when_told(data, sgforge):
    code, out, _ = sgforge("gc", data, "--keep-days", 0, "--dry-run")
    lines = out.splitlines()
    assert code == 0
    assert [line.split("  ")[1:] for line in lines[:2]] == [["spatial-rules", "0 days old"], ["complete", "0 days old"]]
    assert lines[2].startswith("unused: 2 versions, 0 step folders, 0 made files, ")
    assert lines[2].endswith("; versions kept: 1 by branches")
    assert lines[3:] == ["nothing was removed"]
    assert len(list((data / "snapshots").iterdir())) == 3
    code, _, err = sgforge("gc", data, "--keep-days", 0)
    assert code == 2
    assert "nothing was removed: without a terminal to ask in, say --yes, or --dry-run to look at it" in err
    code, _, err = sgforge("gc", data.parent / "nothing")
    assert code == 1
    assert "nothing does not exist" in err
    assert sgforge("gc", data, "--yes")[1].splitlines()[-1] == (
        "removed 0 versions, 0 step folders, 0 made files; 0 bytes freed"
    )
    code, out, _ = sgforge("gc", data, "--keep-days", 0, "--yes", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["removed"] is True
    assert [version["step"] for version in found["versions"]] == ["spatial-rules", "complete"]
    assert found["kept"] == {"branches": 1}
    assert [path.name for path in (data / "snapshots").iterdir()] == [Dataset.open(data).snapshot.id]


@pytest.mark.parametrize(("answer", "left"), [("n", 3), ("", 3), ("y", 1)])
def test_in_a_terminal_it_asks(data, answer, left):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sgforge", "gc", str(data), "--keep-days", "0"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
    os.write(ours, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=LONGEST)
    assert process.returncode == 0
    assert ("nothing was removed" in out.decode()) == (left == 3)
    assert b"remove these for good? [y/N]" in os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)
    assert len(list((data / "snapshots").iterdir())) == left


def test_trained_weights_are_listed_with_size_and_age(tmp_path, sgforge):
    data = tmp_path / "data"
    run(data, Config(rate=1, generates=True))
    run(data, Config())
    (folder,) = (data / "steps").iterdir()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    line = f"checkpoint {folder.name[:12]}  train  {size} bytes  0 days old"
    lines = sgforge("gc", data, "--keep-days", 0, "--dry-run")[1].splitlines()
    assert lines[2:5] == [
        f"1 training, {size} bytes, that nothing kept uses stay:",
        f"  {line}",
        "  --checkpoints lets them go too",
    ]
    lines = sgforge("gc", data, "--keep-days", 0, "--checkpoints", "--yes")[1].splitlines()
    assert lines[1] == line
    assert lines[-1].startswith("removed 1 version, 1 step folder, 0 made files; ")
    assert list((data / "steps").iterdir()) == []


def test_branches_are_listed_and_taken_away(data, sgforge):
    head = Dataset.open(data).snapshot
    with DatasetWriter.open(data) as writer:
        writer.move_branch("draft", head)
        writer.tag("v1", head.id)
    assert sgforge("branch", data)[1].splitlines() == [f"{head.id[:12]}  draft", f"{head.id[:12]}  main"]
    assert json.loads(sgforge("branch", data, "--json")[1]) == {"branches": {"draft": head.id, "main": head.id}}
    code, out, _ = sgforge("branch", data, "--delete", "draft")
    assert code == 0
    assert out.startswith(f"branch draft is gone; it was {head.id[:12]}, which stays until sgforge gc removes it")
    code, _, err = sgforge("branch", data, "--delete", "draft")
    assert code == 1
    assert "has no branch 'draft'; known: main" in err
    assert sgforge("branch", data, "--delete", "v1")[0] == 1
    assert json.loads(sgforge("untag", data, "v1", "--json")[1]) == {"deleted": "v1", "tag": "v1", "snapshot": head.id}
    assert sgforge("untag", data, "main")[0] == 1
    assert Dataset.open(data).tags() == {}
    (data / "refs" / "tags" / "v2").write_text("?")
    assert sgforge("untag", data, "v2")[1] == "tag v2 is gone; its file was damaged\n"
    assert sgforge("untag", data, "../../sgforge.json")[0] == 1
    assert (data / "sgforge.json").exists()


def test_the_whole_log_has_what_no_name_leads_to(data, sgforge):
    assert len(sgforge("log", data)[1].splitlines()) == 1
    lines = sgforge("log", data, "--all")[1].splitlines()
    assert ["spatial-rules" in lines[0], "complete svg" in lines[1], lines[2].endswith("<- main")] == [True] * 3
    found = json.loads(sgforge("log", data, "--all", "--json")[1])
    assert [entry["names"] for entry in found] == [[], [], ["main"]]
    (data / "snapshots" / found[0]["snapshot"] / "zarr.json").unlink()
    code, out, err = sgforge("log", data, "--all")
    assert code == 1
    assert out.splitlines() == lines[1:]
    assert err.startswith("damaged: ")
