"""`sgforge plan` reads: a dataset that may not be written, or that a run is writing, can be planned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from engine_toys import toy_environment
from support.waiting import LONGEST

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import DatasetWriter, JournalRow, KnownWork

CONFIG = """\
dataset = "{data}"
[source]
use = "toy"
count = {count}
[[step]]
segment = "toy"
"""
AS_NOBODY = """\
import os, sys
from sgforge.cli.main import main
main(["plan", sys.argv[2]])  # as oneself, so that every module is loaded: nobody may be unable to read them
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    open(os.path.join(sys.argv[1], "probe"), "w")
except OSError:
    sys.exit(main(["plan", sys.argv[2]]))
sys.exit(99)
"""


def config_file(folder: Path, count: int = 12) -> str:
    path = folder / "pipeline.toml"
    path.write_text(CONFIG.format(data=folder / "data", count=count))
    return str(path)


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.stat()
        found[str(path)] = (status.st_size, status.st_mtime_ns, status.st_mode)
    return found


def test_a_plan_changes_no_file_and_reads_while_a_run_writes(toys, tmp_path, capsys):
    main(["run", config_file(tmp_path, 10)])
    before = everything(tmp_path / "data")
    capsys.readouterr()
    config = config_file(tmp_path)
    assert main(["plan", config]) == 0
    assert capsys.readouterr().out.splitlines() == ["12 images", "segment  toy: 2 to compute, 10 known"]
    assert everything(tmp_path / "data") == before
    with DatasetWriter.open(tmp_path / "data"):
        assert main(["plan", config]) == 0
    assert "2 to compute, 10 known" in capsys.readouterr().out


def test_what_a_run_going_on_has_answered_is_known(tmp_path):
    with DatasetWriter.open(tmp_path / "data") as writer:
        known = KnownWork.open(tmp_path / "data")
        assert known.answered([b"a" * 32]) == set()
        writer.journal.put([JournalRow(b"a" * 32, "one", "segment", b"", (), "run", {})])
        writer.journal.remember_sha256([("photos:a.png", 5, 7, "ab")])
        assert known.answered([b"a" * 32, b"b" * 32]) == {b"a" * 32}
        assert known.hashes([("photos:a.png", 5, 7), ("photos:a.png", 6, 7)]) == ["ab", None]
    # The log is gone with the writer; the same questions find the same.
    assert known.answered([b"a" * 32]) == {b"a" * 32}
    assert known.hashes([("photos:a.png", 5, 7)]) == ["ab"]


def test_a_dataset_without_write_permission_can_be_planned(toys, tmp_path):
    """In a child without root's rights: any attempt to write would fail."""
    sg.Pipeline(sg.segment("toy")).run(sg.source("toy", count=10), tmp_path / "data", progress=False)
    config = config_file(tmp_path)
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in tmp_path, *tmp_path.parents:
        if parent.stat().st_mode & 0o005 != 0o005 and os.access(parent, os.W_OK):
            parent.chmod(parent.stat().st_mode | 0o055)
    environment = {**os.environ, **toy_environment(tmp_path / "site")}
    command = [sys.executable, "-c", AS_NOBODY, str(tmp_path / "data"), config]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False)
    for path in tmp_path.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["12 images", "segment  toy: 2 to compute, 10 known"] * 2
