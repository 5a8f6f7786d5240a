"""Damaged files: the error names the file and the way out, the way out works, and other versions stay usable."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import Dataset, DatasetWriter
from sgforge.dataset.states.known_states import KnownWork
from sgforge.errors import DatasetError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of three versions; "good" names the first of them."""
    folder = tmp_path_factory.mktemp("damage")
    run(folder)
    with DatasetWriter.open(folder / "data") as writer:
        writer.tag("good", Dataset.open(folder / "data").log()[-1].snapshot_id)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    shutil.copytree(whole, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "copy"


def run(folder: Path) -> sg.pipeline.RunReport:
    made = sg.Pipeline(sg.complete("geometry"), sg.filter("spatial-rules"))
    return made.run(sg.source("scenes", folder=str(folder / "scenes"), count=3), folder / "data", progress=False)


def versions(folder: Path) -> list[Path]:
    """Folders of the versions, the newest first."""
    dataset = Dataset.open(folder / "data")
    return [folder / "data" / "snapshots" / meta.snapshot_id for meta in dataset.log()]


def truncate_description(version: Path) -> Path:
    file = version / "zarr.json"
    file.write_bytes(file.read_bytes()[:300])
    return file


def remove_array(version: Path) -> Path:
    shutil.rmtree(version / "image" / "key")
    return version / "image" / "key"


def remove_chunks(version: Path) -> Path:
    """Without it a reader of zarr sees zeros."""
    shutil.rmtree(version / "image" / "key" / "c")
    return version / "image" / "key"


def empty(version: Path) -> Path:
    shutil.rmtree(version)
    version.mkdir()
    return version


@pytest.mark.parametrize("damage", [truncate_description, remove_array, remove_chunks, empty])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_version_is_named_with_a_way_out_that_works(folder, damage, number):
    expected = {row.image_id: row.graph for row in Dataset.open(folder / "data")}
    version = versions(folder)[number]
    where = damage(version)
    with pytest.raises(DatasetError) as caught:
        run(folder)
    message = str(caught.value)
    assert str(where) in message
    assert f"delete {version} and run again" in message
    assert "\n" not in message
    shutil.rmtree(version)
    assert run(folder).exit_code == 0
    assert {row.image_id: row.graph for row in Dataset.open(folder / "data")} == expected


def test_one_damaged_version_leaves_the_others_usable(folder, capsys):
    newest = versions(folder)[0]
    truncate_description(newest)
    data = str(folder / "data")
    for command in (["log", f"{data}@good"], ["show", f"{data}@good"], ["stats", f"{data}@good"], ["tag", data]):
        assert main(command) == 0
    assert main(["tag", data, "also-good", "good"]) == 0
    assert len(Dataset.open(data, "also-good")) == 3
    assert main(["show", data]) == 1
    assert f"delete {newest}" in capsys.readouterr().err


def test_a_log_is_told_up_to_a_damaged_version(folder, capsys):
    newest, damaged, _ = versions(folder)
    truncate_description(damaged)
    assert main(["log", str(folder / "data")]) == 1
    told = capsys.readouterr()
    assert told.out.startswith(newest.name[:12])
    assert len(told.out.splitlines()) == 1
    assert str(damaged / "zarr.json") in told.err
    shutil.rmtree(damaged)
    assert main(["log", str(folder / "data")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"{damaged.name[:12]}  is not here any more"]


def test_a_branch_to_a_version_that_is_gone_is_told_and_made_anew(folder):
    newest = versions(folder)[0]
    shutil.rmtree(newest)
    with pytest.raises(DatasetError, match=f"'main' names snapshot {newest.name[:12]}, which is not here: run again"):
        Dataset.open(folder / "data")
    assert run(folder).step("filter").counts.computed == 3
    assert versions(folder)[0] == newest


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0" * 31])
def test_a_damaged_branch_is_named_and_leaves_the_others_usable(folder, capsys, content):
    data = folder / "data"
    (data / "refs/heads/main").write_bytes(content)
    with pytest.raises(DatasetError, match=r"refs/heads/main .*run again, which writes it anew"):
        Dataset.open(data)
    assert main(["log", f"{data}@good"]) == 0
    assert main(["tag", str(data), "other", "good"]) == 0
    capsys.readouterr()
    assert main(["tag", str(data)]) == 0
    assert "damaged: " in capsys.readouterr().out
    assert main(["verify", str(data)]) == 1
    assert "refs/heads/main" in capsys.readouterr().out
    run(folder)
    assert len(Dataset.open(data)) == 3


def test_a_damaged_tag_is_not_taken_for_a_free_name(folder):
    tag = folder / "data/refs/tags/good"
    tag.write_text("")
    with (
        DatasetWriter.open(folder / "data") as writer,
        pytest.raises(DatasetError, match=r"refs/tags/good .*delete it and tag again"),
    ):
        writer.tag("good", writer.resolve("main"))
    tag.unlink()
    with DatasetWriter.open(folder / "data") as writer:
        writer.tag("good", writer.resolve("main"))


def test_a_damaged_journal_is_named_with_a_way_out_that_works(folder):
    journal = folder / "data" / "journal.sqlite"
    journal.write_bytes(b"no database at all" * 1000)
    match = "journal.sqlite: .*move it away with its -wal and -shm files and run again"
    with pytest.raises(DatasetError, match=match):
        KnownWork.open(folder / "data").answered([b"k" * 16])
    with pytest.raises(DatasetError, match=match):
        run(folder)
    assert len(Dataset.open(folder / "data")) == 3
    journal.unlink()
    report = run(folder)
    assert report.exit_code == 0
    assert report.step("filter").counts.reused == 3


def test_a_name_that_is_a_pipe_is_damaged_and_blocks_nobody(folder, capsys):
    data = folder / "data"
    os.mkfifo(data / "refs" / "tags" / "pipe")
    assert main(["tag", str(data)]) in (0, 1)
    assert main(["show", f"{data}@pipe"]) == 1
    assert "refs/tags/pipe does not name a snapshot" in capsys.readouterr().err
