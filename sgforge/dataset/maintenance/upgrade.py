"""Adding what a later schema has: digests of the files of versions and of steps, for datasets of schema 2.0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from sgforge.dataset.folder import SCHEMA, DatasetFolder, Lock
from sgforge.dataset.maintenance.mending import place
from sgforge.dataset.maintenance.snapshot_checks import SnapshotChecker
from sgforge.dataset.maintenance.step_checks import step_findings, unsealed_files
from sgforge.dataset.snapshot import read_meta
from sgforge.dataset.zarr_arrays.writing import group_metadata
from sgforge.regular_files import MAX_META_BYTES, read_json
from sgforge.seals import Digest, digest_of, seal

__all__ = ["Upgrade", "upgrade_dataset"]


@attrs.frozen
class Upgrade:
    """What was done: versions and files of steps that got digests, and what was left as it is, with the reason."""

    snapshots: tuple[str, ...]
    files: int
    left: tuple[str, ...]


def upgrade_dataset(path: Path | str) -> Upgrade:
    """Bring the dataset at `path` to the schema that this sgforge writes; nothing is lost, and no id or key changes.

    A damaged version gets no digests, which would call it sound. Killed at any moment it leaves a dataset that opens,
    and that is upgraded by running again.
    """
    folder = DatasetFolder.open(path)
    lock = Lock.take(folder.path)
    try:
        folder.mark()
        folder.clean()
        done: list[str] = []
        left: list[str] = []
        checker = SnapshotChecker(folder)
        for snapshot_id in checker.known:
            check = checker.check(snapshot_id)
            if snapshot_id not in checker.unsealed:
                continue
            if check.problems:
                left.append(f"snapshot {snapshot_id}: damaged, so it gets no digests: {check.problems[0]}")
                continue
            _upgrade(folder, snapshot_id)
            done.append(snapshot_id)
        files, unsound = _seal_steps(folder)
        return Upgrade(tuple(done), files, (*left, *unsound))
    finally:
        lock.release()


def _upgrade(folder: DatasetFolder, snapshot_id: str) -> None:
    path = folder.snapshot(snapshot_id)
    root, sealed = path / "zarr.json", folder.sealed(snapshot_id)
    told: dict[str, Any] = read_json(root, MAX_META_BYTES)["attributes"]
    told["sgforge"]["schema"] = SCHEMA
    told["sgforge"]["files"] = {name: [found.size, found.crc32] for name, found in _files(path)}
    new = group_metadata(told)
    # Either root fits its seal until the old one is gone.
    seal(root, digest_of(root), Digest.of(new), sealed=sealed)
    place(new, root, folder.snapshots / ".tmp-upgrade")
    seal(root, Digest.of(new), sealed=sealed)


def _files(path: Path) -> Iterator[tuple[str, Digest]]:
    arrays = read_meta(path).arrays
    groups = {str(parent) for name in arrays for parent in Path(name).parents} - {"."}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        of = name.removesuffix("/zarr.json") if name.endswith("/zarr.json") else name.partition("/c/")[0]
        if file.is_file() and name != "zarr.json" and (of in arrays or of in groups):
            yield name, digest_of(file)


def _seal_steps(folder: DatasetFolder) -> tuple[int, list[str]]:
    """Digests of what steps left, where nothing is wrong with it as far as can be told."""
    damaged = {finding.where.split("/")[1]: finding.what for finding in step_findings(folder)}
    count = 0
    for file in unsealed_files(folder):
        if file.parent.name not in damaged:
            seal(file)
            count += 1
    return count, list(damaged.values())
