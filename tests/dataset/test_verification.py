"""What `sgforge verify` looks at beside arrays and journal, and that a run beside it is no damage."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from dataset.plain import run

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.digests import folder_sha256


@pytest.fixture
def data(tmp_path: Path) -> Path:
    run(tmp_path / "data")
    return tmp_path / "data"


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file of a snapshot, links of others to it aside."""
    path.unlink()
    path.write_bytes(content)
    path.chmod(0o444)


def test_a_check_beside_a_run_that_publishes_says_sound(data: Path) -> None:
    wrong: list[str] = []
    checks = 0
    over = threading.Event()

    def look() -> None:
        nonlocal checks
        while not over.is_set():
            wrong.extend(verify_dataset(data).problems)
            checks += 1

    looking = threading.Thread(target=look)
    looking.start()
    for count in range(2, 7):
        run(data, *(f"word{number}" for number in range(count)))
    over.set()
    looking.join()
    assert (wrong, checks > 0) == ([], True)


@pytest.mark.parametrize("how", ["gone", "no JSON", "an array"])
def test_a_group_that_plain_zarr_cannot_open_is_found(data: Path, how: str) -> None:
    path = Dataset.open(data).snapshot.path / "region" / "zarr.json"
    if how == "gone":
        path.unlink()
    else:
        rewrite(path, b"[" if how == "no JSON" else b'{"zarr_format": 3, "node_type": "array"}')
    snapshot = Dataset.open(data).snapshot.id
    assert verify_dataset(data).problems == [
        f"snapshot {snapshot}: region/zarr.json is no group of zarr: it is lost or was changed"
    ]


def trained(data: Path) -> Path:
    """The folder of a training whose weights are one file."""
    folder = data / "steps" / ("a" * 64)
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "weights").write_bytes(b"0123456789")
    told = {"path": "out", "sha256": folder_sha256(folder / "out"), "metrics": {}}
    (folder / "checkpoint.json").write_text(json.dumps(told))
    return folder


def test_checkpoints_are_looked_at(data: Path, tmp_path: Path) -> None:
    folder = trained(data)
    assert verify_dataset(data).problems == []
    (folder / "out" / "weights").write_bytes(b"0123456788")
    assert verify_dataset(data).problems == ["steps/aaaaaaaaaaaa: the weights are not those that the training left"]
    (folder / "checkpoint.json").write_text(json.dumps({"path": "../../..", "sha256": "0"}))
    assert verify_dataset(data).problems == ["steps/aaaaaaaaaaaa: its checkpoint.json leads out of its folder"]
    (folder / "checkpoint.json").write_text("[")
    (problem,) = verify_dataset(data).problems
    assert problem.startswith("steps/aaaaaaaaaaaa: its checkpoint.json describes no checkpoint (")


def test_paid_answers_are_looked_at(data: Path) -> None:
    path = data / "responses.sqlite"
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE response (key BLOB PRIMARY KEY, raw BLOB)")
        base.executemany("INSERT INTO response VALUES (?, ?)", [(bytes([n]) * 32, b"x" * 900) for n in range(40)])
        base.commit()
    assert verify_dataset(data).problems == []
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 8] = b"\xff" * 8  # the head of the second page
    path.write_bytes(content)
    problems = verify_dataset(data).problems
    assert problems
    assert all(problem.startswith("responses: ") for problem in problems)


def test_a_circle_of_parents_is_damage(data: Path) -> None:
    dataset = Dataset.open(data)
    first, last = dataset.log()[-1].snapshot_id, dataset.snapshot.id
    path = data / "snapshots" / first / "zarr.json"
    meta = json.loads(path.read_bytes())
    meta["attributes"]["sgforge"]["parents"] = [last]
    rewrite(path, json.dumps(meta).encode())
    problems = verify_dataset(data).problems
    assert len([problem for problem in problems if problem.endswith("names a parent that came from it")]) == 1


def test_a_time_moves_no_cursor(data: Path, capsys) -> None:
    path = Dataset.open(data).snapshot.path / "zarr.json"
    meta = json.loads(path.read_bytes())
    meta["attributes"]["sgforge"]["created"] = "\x1b]0;owned\x07\x1b[2J"
    rewrite(path, json.dumps(meta).encode())
    main(["log", str(data)])
    out = capsys.readouterr().out
    assert "owned" in out
    assert "\x1b" not in out
