"""A dataset from a stranger: pipes in place of files, files far too large, claims of what is not on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from dataset.made import make_dataset

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.dataset.folder import DatasetFolder, Lock
from sgforge.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_dataset(tmp_path / "data")
    for path in (tmp_path / "data").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "data"


def head(folder: Path) -> Path:
    """The folder of branch main's version."""
    return folder / "snapshots" / (folder / "refs/heads/main").read_text().strip()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def restate(path: Path, **changes: object) -> None:
    """Change what a snapshot says of itself."""
    meta = json.loads((path / "zarr.json").read_text())
    meta["attributes"]["sgforge"].update(changes)
    (path / "zarr.json").write_text(json.dumps(meta))


def test_a_pipe_in_place_of_any_file_is_refused_at_once(folder, capsys):
    version = head(folder)
    chunk = next(path for path in (version / "region/label/c").rglob("*") if path.is_file())
    for path in (chunk, version / "region/label/zarr.json", version / "zarr.json", folder / "sgforge.json"):
        make_pipe(path)
        assert main(["show", str(folder)]) == 1
        told = capsys.readouterr().err
        assert "no regular file" in told
        assert path.name in told


def test_a_pipe_as_lock_is_refused_at_once(folder):
    (folder / "lock").unlink(missing_ok=True)
    os.mkfifo(folder / "lock")
    with pytest.raises(DatasetError, match="no regular file"):
        Lock.take(folder)


@pytest.mark.parametrize("name", ["refs/heads/main", "refs/tags/v"])
def test_a_ref_of_more_than_256_bytes_is_damage(folder, name):
    named = head(folder).name
    (folder / name).write_text(f"{named}\n" + " " * 200)
    assert DatasetFolder.open(folder).resolve(Path(name).name) == named
    (folder / name).write_text(f"{named}\n" + " " * 300)
    with pytest.raises(DatasetError, match="does not name a snapshot, the file is damaged"):
        DatasetFolder.open(folder).resolve(Path(name).name)


def test_a_marker_nested_too_deeply_is_told(folder):
    (folder / "sgforge.json").write_text("[" * 4000)
    with pytest.raises(DatasetError, match=r"sgforge.json cannot be read"):
        Dataset.open(folder)
    (head(folder) / "zarr.json").write_text("[" * 200_000)
    make_dataset(folder.parent / "other")
    (folder / "sgforge.json").write_text((folder.parent / "other/sgforge.json").read_text())
    with pytest.raises(DatasetError, match=r"zarr.json is not the description of a snapshot: .*too deeply"):
        Dataset.open(folder)


def test_rows_that_nothing_on_disk_bears_out_are_refused(folder):
    version = head(folder)
    rows = 2**40
    for array in ("region/score", "region/depth"):  # of fill values, which take no place
        file = version / array / "zarr.json"
        meta = json.loads(file.read_text())
        file.write_text(json.dumps({**meta, "shape": [rows]}))
    stated = json.loads((version / "zarr.json").read_text())["attributes"]["sgforge"]["arrays"]
    lies = {name: {**stated[name], "rows": rows} for name in ("region/score", "region/depth")}
    restate(version, arrays=stated | lies)
    with pytest.raises(DatasetError, match=r"claim more than .* bytes, .* are on disk: refused"):
        Dataset.open(folder).snapshot.array("region/score")
    assert main(["verify", str(folder)]) == 1


def test_a_branch_that_is_a_link_to_elsewhere_is_refused(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text(head(folder).name)
    (folder / "refs/heads/out").symlink_to(outside)
    with pytest.raises(DatasetError, match="is a link to elsewhere: refused"):
        DatasetFolder.open(folder).resolve("out")
    assert "out" not in DatasetFolder.open(folder).refs("heads")
    (tmp_path / "linked").symlink_to(folder)
    assert len(Dataset.open(tmp_path / "linked")) == 3
