"""Checking versions: every file by its digest, every array by what it must hold, and what the rows say of each other.

Versions share files by hard links: a file is read once, an array that several have is unpacked once, and what is wrong
with it is told once, with all of them. Rows are looked at some at a time: a version may be larger than memory.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final

import attrs
import numpy as np

from sgforge.columns import GraphColumns, Ragged, Vocabularies
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance.findings import Finding, Kind
from sgforge.dataset.publishing.write_snapshot import checksum
from sgforge.dataset.snapshot import ArrayRecord, Snapshot
from sgforge.dataset.zarr_arrays.value_columns import ValueColumn
from sgforge.errors import DatasetError
from sgforge.file_refs import is_made
from sgforge.made_files import MadeFiles
from sgforge.regular_files import MAX_META_BYTES, read_json
from sgforge.seals import Digest, digest_of, seal_fault
from sgforge.text.wording import counted

__all__ = ["SnapshotCheck", "SnapshotChecker"]

_DATA: Final = ("image/", "region/", "relation/", "vocabulary/")
_ROWS: Final = 2**16
"""Regions and relations that are looked at together."""


@attrs.frozen
class SnapshotCheck:
    """One version: how much was read, the sha256 over its data arrays in order of path, and what is wrong with it alone
    or with files that it shares."""

    snapshot_id: str
    arrays: int
    bytes: int
    sha256: str
    problems: tuple[str, ...]


@attrs.frozen
class _Held:
    """What an array holds: the sha256 of its values, their bytes, and what is wrong."""

    sha256: bytes
    size: int
    problem: str | None = None


@attrs.define
class _Damage:
    """A damaged file, and the versions that have it."""

    kind: Kind
    where: str
    what: str
    versions: list[str]


class SnapshotChecker:
    """Looks at the versions of a dataset one after the other. `notes`: what is no damage and worth knowing."""

    def __init__(self, folder: DatasetFolder) -> None:
        self._folder = folder
        self._known = folder.snapshot_ids()
        self._digests: dict[tuple[int, int], Digest | str] = {}
        self._arrays: dict[tuple[object, ...], _Held] = {}
        self._damaged: dict[tuple[object, ...], _Damage] = {}
        self._alone: list[Finding] = []
        self._writable: dict[str, list[str]] = {}
        self.unsealed: list[str] = []

    def check(self, snapshot_id: str) -> SnapshotCheck:
        """One version."""
        before = len(self._alone)
        found = _OneVersion(self, snapshot_id).check()
        shared = [damage.what for damage in self._damaged.values() if snapshot_id in damage.versions]
        if snapshot_id in self._writable:
            shared.append(f"{counted(len(self._writable[snapshot_id]), 'file')} can be written")
        problems = (*(finding.what for finding in self._alone[before:]), *shared)
        return attrs.evolve(found, problems=problems)

    def findings(self) -> list[Finding]:
        """All that is wrong, of the versions that were looked at."""
        shared = [
            Finding(kind=damage.kind, what=damage.what, where=damage.where, versions=tuple(damage.versions))
            for damage in self._damaged.values()
        ]
        return [*self._alone, *shared, *self._modes()]

    def _modes(self) -> Iterator[Finding]:
        if not self._writable:
            return
        first, (name, *_) = next(iter(self._writable.items()))
        count = counted(sum(map(len, self._writable.values())), "file")
        yield Finding(
            kind="mode",
            what=f"{count} of {counted(len(self._writable), 'snapshot')} can be written, such as {first[:12]}/{name}, "
            f"which must have mode 444 (a copy may have lost it): sgforge repair {self._folder.path} gives it back",
        )

    @property
    def folder(self) -> DatasetFolder:
        """The dataset."""
        return self._folder

    @property
    def known(self) -> Sequence[str]:
        """The ids of all versions."""
        return self._known

    def tell(self, finding: Finding) -> None:
        """Something is wrong with one version."""
        self._alone.append(finding)

    def tell_shared(self, key: tuple[object, ...], kind: Kind, snapshot_id: str, where: str, what: str) -> None:
        """Something is wrong with a file that others may have too; `key`: what it is one and the same by."""
        damage = self._damaged.setdefault((kind, where, *key), _Damage(kind, where, what, []))
        if snapshot_id not in damage.versions:
            damage.versions.append(snapshot_id)

    def tell_writable(self, snapshot_id: str, names: Sequence[str]) -> None:
        """Files of a version may be written: told once for all, as in a copy without modes it is every file."""
        self._writable[snapshot_id] = list(names)

    def digest(self, path: Path, stamp: os.stat_result) -> Digest | str:
        """The digest of a file or why it cannot be read; each is read once, whatever its names."""
        key = stamp.st_dev, stamp.st_ino
        found = self._digests.get(key)
        if found is None:
            try:
                found = digest_of(path)
            except OSError as error:
                found = f"cannot be read: {error.strerror or error}"
            self._digests[key] = found
        return found

    def held(
        self, snapshot: Snapshot, name: str, record: ArrayRecord, files: Sequence[os.stat_result]
    ) -> tuple[tuple[object, ...], _Held]:
        """Which array this is, and what it holds; one that lies in the files of one before is not unpacked again."""
        key = (name, record, *((stamp.st_dev, stamp.st_ino) for stamp in files))
        found = self._arrays.get(key)
        if found is None:
            found = self._arrays[key] = _read_array(snapshot, name, record)
        return key, found


class _OneVersion:
    """The check of one version."""

    def __init__(self, checker: SnapshotChecker, snapshot_id: str) -> None:
        self._checker = checker
        self._id = snapshot_id
        self._path = checker.folder.snapshot(snapshot_id)
        self._is_sound = True
        self._files = dict(_files_below(self._path))

    def check(self) -> SnapshotCheck:
        self._check_modes()
        empty = SnapshotCheck(snapshot_id=self._id, arrays=0, bytes=0, sha256="", problems=())
        try:
            snapshot = Snapshot.open(self._path)
        except DatasetError as error:
            if not self._path.exists():  # taken away just now, by `sgforge gc`
                return empty
            self._tell("version", getattr(error, "what", str(error)), "zarr.json")
            return empty
        if snapshot.id != self._id:
            self._tell("version", f"calls itself {snapshot.id}", "zarr.json")
        for parent in snapshot.meta.parents:
            if parent not in self._checker.known and not self._checker.folder.was_set_aside(parent):
                self._tell("content", f"its parent {parent} is gone", needs=parent)
        damaged = self._check_files(snapshot)
        digest, size = hashlib.sha256(), 0
        of_arrays: dict[str, list[os.stat_result]] = {}
        for file, stamp in self._files.items():
            of_arrays.setdefault(_array_of(file), []).append(stamp)
        for name, record in sorted(snapshot.meta.arrays.items()):
            key, held = self._checker.held(snapshot, name, record, of_arrays.get(name, ()))
            size += held.size
            if held.problem is not None and name not in damaged:
                self._is_sound = False
                self._checker.tell_shared(key, "array", self._id, name, held.problem)
            if name.startswith(_DATA):
                digest.update(f"{name} {held.sha256.hex()} ".encode())
        if self._is_sound and not damaged:
            for problem in (*_content_problems(snapshot), *_lost_files(snapshot, self._checker.folder.files)):
                self._tell("content", problem)
        return attrs.evolve(empty, arrays=len(snapshot.meta.arrays), bytes=size, sha256=digest.hexdigest())

    def _tell(self, kind: Kind, what: str, where: str = "", needs: str = "") -> None:
        self._is_sound = False
        finding = Finding(kind=kind, what=what, where=where, versions=(self._id,), needs=needs)
        self._checker.tell(finding)

    def _check_modes(self) -> None:
        writable = []
        for where, stamp in self._files.items():
            mode = stamp.st_mode
            if stat.S_ISLNK(mode):
                self._tell("version", f"{where} is a link to elsewhere", where)
            elif stat.S_ISREG(mode) and mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
                writable.append(where)
        if writable:
            # Files may be shared with other versions, so nobody may write into one.
            self._checker.tell_writable(self._id, writable)

    def _check_files(self, snapshot: Snapshot) -> set[str]:
        """Every file against its digest; the arrays in which one is damaged."""
        self._check_root(snapshot)
        try:
            digests = snapshot.meta.digests()
        except ValueError as error:
            if self._is_sound:  # else the root is told of already
                self._tell("version", f"zarr.json: its digests of files are none: {error}", "zarr.json")
            self._is_sound = False
            return set()
        if digests is None:
            self._check_groups(snapshot)
            return set()
        damaged = set()
        for name, told in digests.items():
            # Which version it is of does not matter for a file that is shared, nor for what is lost.
            key: tuple[object, ...] = (told,)
            stamp = self._files.get(name)
            if stamp is None:
                what: str | None = f"{name} is lost"
            else:
                key = stamp.st_dev, stamp.st_ino
                found = self._checker.digest(self._path / name, stamp)
                what = None if found == told else f"{name}: {found if isinstance(found, str) else _CHANGED}"
            if what is not None:
                of = _array_of(name)
                damaged.add(of)
                kind: Kind = "array" if of in snapshot.meta.arrays else "group"
                what = what if kind == "array" else f"{name} {_NO_GROUP}"
                self._checker.tell_shared(key, kind, self._id, name, what)
        if any(f"{name}/zarr.json" not in digests for name in (*snapshot.meta.arrays, *_groups(snapshot))):
            self._tell("version", "zarr.json: it has no digest of some of its files", "zarr.json")
        return damaged

    def _check_root(self, snapshot: Snapshot) -> None:
        if snapshot.meta.files is None and snapshot.meta.schema == "2.0":
            self._checker.unsealed.append(self._id)
            return
        if snapshot.meta.files is None:
            self._tell("version", "zarr.json has lost its digests of files", "zarr.json")
        sealed = self._checker.folder.sealed(self._id)
        fault = seal_fault(self._path / "zarr.json", sealed)
        if fault is not None:
            self._tell("seal" if sealed.name in fault else "root", f"zarr.json: {fault}", "zarr.json")

    def _check_groups(self, snapshot: Snapshot) -> None:
        """Groups on the way to the arrays that plain zarr could not open."""
        for group in _groups(snapshot):
            try:
                found = read_json(self._path / group / "zarr.json", MAX_META_BYTES)
                is_group = (found["zarr_format"], found["node_type"]) == (3, "group")
            except (OSError, ValueError, LookupError, TypeError):
                is_group = False
            if not is_group:
                where = f"{group}/zarr.json"
                self._tell("group", f"{where} {_NO_GROUP}", where)


_NO_GROUP: Final = "is no group of zarr: it is lost or was changed"
_CHANGED: Final = "its bytes are not those that were published"


def _files_below(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below a folder by its path there, in order; links too, which are not followed."""
    for folder, folders, files in os.walk(path):
        folders.sort()
        inside = os.path.relpath(folder, path)
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*files, *links]):
            yield name if inside == "." else f"{inside}/{name}", os.lstat(os.path.join(folder, name))


def _array_of(name: str) -> str:
    """The array or group that a file of a version belongs to."""
    if name.endswith("/zarr.json"):
        return name.removesuffix("/zarr.json")
    head, mark, _ = name.rpartition("/c/")
    return head if mark else name


def _groups(snapshot: Snapshot) -> list[str]:
    groups = {str(parent) for name in snapshot.meta.arrays for parent in PurePosixPath(name).parents}
    return sorted(groups - {"."})


def _read_array(snapshot: Snapshot, name: str, record: ArrayRecord) -> _Held:
    """Unpack an array and hold it against what is stated of it."""
    digest = hashlib.sha256()
    try:
        array = snapshot.array(name)
        digest.update(f"{array.shape} {array.dtype} ".encode())
        found = checksum(_told(array.blocks(), digest))
    except DatasetError as error:
        what = getattr(error, "what", str(error))
        return _Held(b"", 0, what.replace(f"{snapshot.path}/", ""))
    size = array.rows * math.prod(array.shape[1:]) * array.dtype.itemsize
    is_right = found == record.crc32c
    problem = None if is_right else f"{name}: its content is not what was published (a chunk is lost or was changed)"
    return _Held(digest.digest(), size, problem)


def _told(blocks: Iterator[np.ndarray], digest: hashlib._Hash) -> Iterator[np.ndarray]:
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
        yield block


def _content_problems(snapshot: Snapshot) -> Iterator[str]:
    last = None
    for part in _parts(snapshot):
        for fault in part.faults():
            yield f"image {part.image.id.text_at(fault.image)!r}: {fault.where}: {fault.message}"
        for image_id in part.image.id.byte_rows():
            if last is not None and last >= image_id:
                yield "image ids are not sorted, or one occurs twice"
            last = image_id
    for name in Vocabularies.names():
        texts = [text.encode() for text in snapshot.vocabulary(name)]
        if any(first >= second for first, second in pairwise(texts)):
            yield f"vocabulary {name} is not sorted"
    for column in snapshot.meta.columns:
        found = snapshot.value_column(*column.key)
        assert found is not None
        yield from found.problems(snapshot.meta.counts[f"{column.target}s"])
    images = snapshot.array("call/image")
    for block in images.blocks():
        if len(block) and not (block.min() >= 0 and block.max() < len(snapshot)):
            yield "a model call belongs to no image"


def _parts(snapshot: Snapshot) -> Iterator[GraphColumns]:
    """All images, some at a time."""
    counts = [np.asarray(snapshot.column(f"image/{name}_count"), np.int64) for name in ("region", "relation")]
    ends = np.cumsum(counts[0] + counts[1] + 1)
    start = 0
    while start < len(snapshot):
        reached = 0 if start == 0 else int(ends[start - 1])
        stop = max(start + 1, int(np.searchsorted(ends, reached + _ROWS, "right")))
        yield snapshot.between(start, stop)
        start = stop


def _lost_files(snapshot: Snapshot, files: MadeFiles) -> Iterator[str]:
    """Files that steps made and that are gone; what those that are there hold is looked at once for all versions."""
    uris = snapshot.column("image/uri")
    assert isinstance(uris, Ragged)
    for row in range(len(snapshot)):
        if is_made(uris.bytes_at(row)):
            uri = uris.text_at(row)
            if not files.path_of(uri).is_file():
                yield f"image {snapshot.image_ids[row]!r}: its picture {uri} is gone"
    for column in snapshot.meta.columns:
        found = snapshot.value_column(*column.key)
        if found is not None and column.is_filed:
            yield from _lost_of(found, files)


def _lost_of(column: ValueColumn, files: MadeFiles) -> Iterator[str]:
    for ref in column.whole().values:
        if not files.has(ref):
            yield f"{column.group}: file {ref.sha256[:12]} is gone"
