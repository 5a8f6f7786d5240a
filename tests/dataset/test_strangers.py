"""A dataset from a stranger: pipes in place of files, files far too large, claims of what is not on disk."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from dataset.made import make_dataset

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.dataset.folder import DatasetFolder, Lock
from sgforge.dataset.zarr_arrays.reading import StoredArray
from sgforge.dataset.zarr_arrays.writing import write_array
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


def rewrite(version: Path, name: str, data: np.ndarray) -> None:
    """Let an array hold something else, soundly, and let the version say so."""
    fill = StoredArray(version / name, version).fill
    shutil.rmtree(version / name)
    write_array(version / name, data, fill)
    stated = json.loads((version / "zarr.json").read_text())["attributes"]["sgforge"]["arrays"]
    stated[name] = {**stated[name], "rows": len(data), "crc32c": google_crc32c.value(data.tobytes())}
    restate(version, arrays=stated)


ODD = {
    "a label without a text": ("region/label", lambda data: np.full_like(data, 900_000)),
    "a status that is none": ("region/status", lambda data: np.full_like(data, 9)),
    "an object that is no region": ("relation/object", lambda data: np.full_like(data, 7)),
    "texts that are no UTF-8": ("vocabulary/label_bytes", lambda data: np.full_like(data, 0xFF)),
    "longer texts than there are bytes": ("vocabulary/predicate_len", lambda data: data + 1000),
    "ids that are no UTF-8": ("image/id_bytes", lambda data: np.full_like(data, 0xFF)),
    "attributes that are no JSON": ("image/attributes_len", lambda data: np.maximum(data, 1) - 1),
    "more regions than there are": ("image/region_count", lambda data: data + 2**31),
    "boxes of two numbers": ("region/box", lambda data: np.ascontiguousarray(data[:, :2])),
    "widths as floats": ("image/width", lambda data: data.astype("f4")),
    "a run that is not there": ("call/run", lambda data: data + 5),
    "versions that are no JSON": ("run/versions_bytes", lambda data: np.full_like(data, 0x7B)),
}


@pytest.mark.parametrize("what", ODD)
def test_what_no_version_can_hold_is_told_as_damage(folder, what, tmp_path, capsys):
    name, change = ODD[what]
    version = head(folder)
    rewrite(version, name, change(StoredArray(version / name, version).read()))
    told = ""
    for command in (["show"], ["show", "a"], ["stats"], ["export", "--to", "jsonl", "--output", str(tmp_path / "out")]):
        verb, *others = command
        code = main([verb, str(folder), *others])
        printed = capsys.readouterr()
        assert "this is a bug" not in printed.err
        # Rows that are not there are told by the array.
        assert (code == 0) or "this version is damaged" in printed.err or ": rows " in printed.err
        told += printed.err
    assert told or name.startswith("run")
    assert main(["verify", str(folder)]) == 1


def test_an_error_of_our_own_is_not_told_as_damage(folder, monkeypatch):
    def broken(*_: object) -> None:
        raise IndexError("ours")

    monkeypatch.setattr("sgforge.dataset.reader.statistics_of", broken)
    with pytest.raises(IndexError, match="ours"):
        Dataset.open(folder).stats()
