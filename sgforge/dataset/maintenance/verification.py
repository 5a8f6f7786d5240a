"""Checking a dataset: checksums, row counts, indices, file modes, refs, journal, checkpoints and paid answers."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import numpy as np

from sgforge.columns import Ragged, Vocabularies
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.publishing.apply_packed import index_faults
from sgforge.dataset.publishing.write_snapshot import checksum
from sgforge.dataset.records import is_sound
from sgforge.dataset.snapshot import Snapshot, read_meta
from sgforge.dataset.states.known_states import KnownWork, answer_columns, connect_to_read
from sgforge.dataset.states.state_index import StateIndex
from sgforge.digests import folder_sha256
from sgforge.errors import DatasetError, GraphError
from sgforge.file_refs import is_made
from sgforge.made_files import MadeFiles
from sgforge.packed import edit_columns
from sgforge.sqlite_files import is_unmade
from sgforge.statekey import KEY_BYTES

__all__ = ["SnapshotCheck", "Verification", "verify_dataset"]

_DATA: tuple[str, ...] = ("image/", "region/", "relation/", "vocabulary/")


@attrs.frozen
class SnapshotCheck:
    """One snapshot: how much was read, the sha256 over its data arrays in order of path, and what is wrong."""

    snapshot_id: str
    arrays: int
    bytes: int
    sha256: str
    problems: tuple[str, ...]


@attrs.frozen
class Verification:
    """All of a dataset; `answers` is how many the journal holds. Nothing is wrong if `problems` is empty."""

    snapshots: tuple[SnapshotCheck, ...]
    answers: int
    others: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, each naming where."""
        found = [f"snapshot {check.snapshot_id}: {text}" for check in self.snapshots for text in check.problems]
        return [*found, *self.others]


def verify_dataset(path: Path | str) -> Verification:
    """Read everything in the dataset at `path` and report what is wrong; nothing is changed."""
    folder = DatasetFolder.open(path)
    # Before the snapshots: one that a run publishes meanwhile is there before anything names it.
    named = {kind: folder.refs(kind) for kind in ("heads", "tags")}
    known = folder.snapshot_ids()
    checks = tuple(_check_snapshot(folder, snapshot_id, known) for snapshot_id in known)
    others = [*_ref_problems(folder, named, known), *folder.files.problems()]
    others += [*_circles(folder, known), *_checkpoint_problems(folder), *_response_problems(folder)]
    answers, problems = _check_journal(folder)
    return Verification(checks, answers, (*others, *problems))


def _check_snapshot(folder: DatasetFolder, snapshot_id: str, known: list[str]) -> SnapshotCheck:
    path = folder.snapshot(snapshot_id)
    problems = list(_file_problems(path))
    digest, size = hashlib.sha256(), 0
    try:
        snapshot = Snapshot.open(path)
    except DatasetError as error:
        return SnapshotCheck(snapshot_id=snapshot_id, arrays=0, bytes=0, sha256="", problems=(str(error),))
    if snapshot.id != snapshot_id:
        problems.append(f"calls itself {snapshot.id}")
    problems.extend(f"its parent {parent} is gone" for parent in snapshot.meta.parents if parent not in known)
    problems.extend(_group_problems(path, snapshot))
    for name, record in sorted(snapshot.meta.arrays.items()):
        try:
            array = snapshot.array(name)
            told = digest.copy()
            told.update(f"{name} {array.shape} ".encode())
            found = checksum(_told(array.blocks(), told))
        except DatasetError as error:
            problems.append(str(error))
            continue
        size += array.rows * math.prod(array.shape[1:]) * array.dtype.itemsize
        if found != record.crc32c:
            problems.append(f"{name}: its content is not what was published (a chunk is lost or was changed)")
        if name.startswith(_DATA):
            digest = told
    if not problems:
        problems.extend(_content_problems(snapshot))
        problems.extend(_lost_files(snapshot, folder.files))
    return SnapshotCheck(
        snapshot_id=snapshot_id,
        arrays=len(snapshot.meta.arrays),
        bytes=size,
        sha256=digest.hexdigest(),
        problems=tuple(problems),
    )


def _group_problems(path: Path, snapshot: Snapshot) -> Iterator[str]:
    """Groups on the way to the arrays that plain zarr could not open."""
    groups = {str(parent) for name in snapshot.meta.arrays for parent in PurePosixPath(name).parents}
    for group in sorted(groups - {"."}):
        try:
            found = json.loads((path / group / "zarr.json").read_bytes())
            is_group = (found["zarr_format"], found["node_type"]) == (3, "group")
        except (OSError, ValueError, LookupError, TypeError):
            is_group = False
        if not is_group:
            yield f"{group}/zarr.json is no group of zarr: it is lost or was changed"


def _told(blocks: Iterator[np.ndarray], digest: hashlib._Hash) -> Iterator[np.ndarray]:
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
        yield block


def _file_problems(path: Path) -> Iterator[str]:
    for file in sorted(path.rglob("*")):
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield f"{file.relative_to(path)} is a link to elsewhere"
        elif stat.S_ISREG(mode) and mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            # Files may be shared with other snapshots, so nobody may write into one.
            yield f"{file.relative_to(path)} can be written (mode {stat.S_IMODE(mode):o}, it must be 444)"


def _content_problems(snapshot: Snapshot) -> Iterator[str]:
    columns = snapshot.columns()
    for fault in columns.faults():
        yield f"image {columns.image.id.text_at(fault.image)!r}: {fault.where}: {fault.message}"
    ids = columns.image.id.byte_rows()
    if any(first >= second for first, second in pairwise(ids)):
        yield "image ids are not sorted, or one occurs twice"
    for name in Vocabularies.names():
        texts = [text.encode() for text in columns.vocabularies.of(name)]
        if any(first >= second for first, second in pairwise(texts)):
            yield f"vocabulary {name} is not sorted"
    for column in snapshot.meta.columns:
        found = snapshot.value_column(*column.key)
        assert found is not None
        yield from found.problems(snapshot.meta.counts[f"{column.target}s"])
    calls = snapshot.provenance
    if len(calls.image) and not (calls.image.min() >= 0 and calls.image.max() < len(snapshot)):
        yield "a model call belongs to no image"


def _lost_files(snapshot: Snapshot, files: MadeFiles) -> Iterator[str]:
    """Files that steps made and that are gone; what those that are there hold is looked at once for all snapshots."""
    uris = snapshot.column("image/uri")
    assert isinstance(uris, Ragged)
    for image_id, uri in zip(snapshot.image_ids, uris.texts(), strict=True):
        if is_made(uri) and not files.path_of(uri).is_file():
            yield f"image {image_id!r}: its picture {uri} is gone"
    for column in snapshot.meta.columns:
        found = snapshot.value_column(*column.key)
        if found is not None and column.is_filed:
            for ref in found.whole().values:
                if not files.has(ref):
                    yield f"{found.group}: file {ref.sha256[:12]} is gone"


def _ref_problems(folder: DatasetFolder, named: Mapping[str, Mapping[str, str]], known: list[str]) -> Iterator[str]:
    for kind, refs in named.items():
        yield from map(str, folder.damaged_refs(kind))
        for name, snapshot_id in refs.items():
            if snapshot_id not in known:
                yield f"{kind}/{name} names snapshot {snapshot_id}, which is not here"


def _circles(folder: DatasetFolder, known: list[str]) -> Iterator[str]:
    """Snapshots that came from themselves, by the first parent of each."""
    parents: dict[str, str] = {}
    for snapshot_id in known:
        with suppress(DatasetError):  # told of the snapshot itself
            parents.update((snapshot_id, parent) for parent in read_meta(folder.snapshot(snapshot_id)).parents[:1])
    done: set[str] = set()
    for start in parents:
        way: dict[str, None] = {}
        at = start
        while at in parents and at not in done and at not in way:
            way[at] = None
            at = parents[at]
        if at in way:
            yield f"snapshot {at} names a parent that came from it"
        done.update(way)


def _checkpoint_problems(folder: DatasetFolder) -> Iterator[str]:
    """Trained weights that are not those that the training left; a folder without a checkpoint is not trained yet."""
    for file in sorted(folder.steps.glob("*/checkpoint.json")):
        where = f"steps/{file.parent.name[:12]}"
        try:
            found = json.loads(file.read_bytes())
            weights = file.parent / str(found["path"])
            is_here, told = weights.resolve().is_relative_to(file.parent.resolve()), str(found["sha256"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            yield f"{where}: its checkpoint.json describes no checkpoint ({error})"
            continue
        if not is_here:
            yield f"{where}: its checkpoint.json leads out of its folder"
        elif weights.is_dir() and folder_sha256(weights) != told:
            yield f"{where}: the weights are not those that the training left"


def _response_problems(folder: DatasetFolder) -> Iterator[str]:
    """What SQLite finds wrong with the file of paid answers."""
    if not folder.responses.exists():
        return
    try:
        with closing(connect_to_read(folder.responses)) as base:
            found = [text for (text,) in base.execute("PRAGMA integrity_check")]
    except sqlite3.Error as error:
        found = [str(error)]
    yield from (f"responses: {text}" for text in found if text != "ok")


def _check_journal(folder: DatasetFolder) -> tuple[int, list[str]]:
    """How many answers the journal holds, and what is wrong with it; it is opened without the right to write."""
    path = folder.journal
    if not path.exists():
        return 0, []
    problems: list[str] = []
    answers = 0
    try:
        check = _AnswerCheck(KnownWork(folder).states)
    except DatasetError:  # of a snapshot, and told there
        check = _AnswerCheck(None)
    try:
        with closing(connect_to_read(path)) as base:
            problems += [f"journal: {text}" for (text,) in base.execute("PRAGMA integrity_check") if text != "ok"]
            for stored in base.execute(f"SELECT {answer_columns(base)} FROM answer ORDER BY number"):
                answers += 1
                problems.extend(check.problem(stored))
    except sqlite3.Error as error:
        if not is_unmade(error):
            problems.append(f"journal: {error}")
    return answers, problems


class _AnswerCheck:
    """Looks at answers in the order they were kept: each may build on the one before."""

    def __init__(self, states: StateIndex | None) -> None:
        self._states = states
        self._counts: dict[bytes, tuple[int, int]] = {}

    def problem(self, stored: Sequence[Any]) -> Iterator[str]:
        """What is wrong with one, if anything."""
        key, image_id, step, edit, *_, parent_key, _ = stored
        where = f"journal: the answer of step {step!r} for image {image_id!r}"
        if not is_sound(stored):
            yield f"{where} is damaged: its checksum does not fit, and the next run makes it again"
            return
        try:
            edits = edit_columns([edit])
        except (GraphError, ValueError, LookupError, TypeError) as error:
            yield f"{where} cannot be unpacked: {error}"
            return
        before = self._rows_of(parent_key)
        if before is None:
            return
        self._counts[key] = before[0] + int(edits.regions_added[0]), before[1] + int(edits.relations_added[0])
        for what in index_faults(edits, np.asarray(before[:1]), np.asarray(before[1:])).values():
            yield f"{where} names {what}"

    def _rows_of(self, key: bytes) -> tuple[int, int] | None:
        """How many regions and relations a state has; None where it is not known."""
        if key in self._counts or len(key) != KEY_BYTES or self._states is None:
            return self._counts.get(key)
        (ref,) = self._states.find([key])
        if ref is None:
            return None
        snapshot = self._states.snapshot(ref.snapshot_id)
        columns = (np.asarray(snapshot.column(f"image/{kind}_count")) for kind in ("region", "relation"))
        regions, relations = (int(column[ref.row]) for column in columns)
        return regions, relations
