"""Writing a snapshot: arrays beside each other, unchanged ones hard-linked, everything durable before it has a name."""

from __future__ import annotations

import math
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs
import google_crc32c
import numpy as np

from sgforge.columns import GraphColumns
from sgforge.columns.declared import Column
from sgforge.dataset.folder import SCHEMA, DatasetFolder, no_space
from sgforge.dataset.provenance import Provenance
from sgforge.dataset.publishing.next_values import NextColumn
from sgforge.dataset.records import StepRecord
from sgforge.dataset.snapshot import ArrayRecord, Snapshot
from sgforge.dataset.zarr_arrays.layout import StoredColumn, pieces_of
from sgforge.dataset.zarr_arrays.value_columns import GIVEN
from sgforge.dataset.zarr_arrays.writing import ArrayWriter, Pieces, Rows, write_group
from sgforge.durable import sync_file, sync_folder
from sgforge.errors import DatasetError
from sgforge.seals import Digest, digest_of, seal

__all__ = ["Draft", "checksum", "write_snapshot"]

_GROUPS: Final = ("image", "region", "relation", "vocabulary", "call", "run")
_BLOCK: Final = 262_144
"""Rows that are compared at once: neither side is held twice as a whole."""
_BLOCK_BYTES: Final = 2**22
"""Bytes of a further column that are held at once."""
_READ_ONLY: Final = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


@attrs.frozen(eq=False)
class Draft:
    """A snapshot to be written: its id, content, the step that made it, and the parent it shares arrays with.

    `parts`: at least one, all images in order, over the same vocabularies; they are never joined in memory. `values`:
    the further columns, which are read while they are written.
    """

    snapshot_id: str
    parts: Sequence[GraphColumns]
    provenance: Provenance
    step: StepRecord
    parent: Snapshot | None = None
    partial: bool = False
    values: Sequence[NextColumn] = ()


def checksum(parts: Iterable[np.ndarray]) -> int:
    """crc32c of the bytes of arrays, one after the other."""
    value = 0
    for part in parts:
        value = google_crc32c.extend(value, np.ascontiguousarray(part).reshape(-1).view(np.uint8))
    return value


def write_snapshot(folder: DatasetFolder, draft: Draft) -> Snapshot:
    """Write a snapshot; when this returns it is complete, durable and read-only under its id.

    Killed at any moment it leaves a temporary folder that the next writer removes. A full disk is a `DatasetError`.
    """
    final = folder.snapshot(draft.snapshot_id)
    work = folder.snapshots / f".tmp-{draft.snapshot_id}-{os.getpid()}"
    try:
        work.mkdir()
        arrays = _Arrays(work, draft.parent)
        written = arrays.write(draft)
        groups = [*_GROUPS, *(f"{column.column.target}/{column.column.name}" for column in draft.values)]
        files = {**arrays.files(), **{f"{name}/zarr.json": write_group(work / name) for name in groups}}
        root = write_group(work, {"sgforge": _attributes(draft, written, files)})
        _make_durable(work)
        seal(final, root, sealed=folder.sealed(draft.snapshot_id))  # first: a version that has its name has its seal
        work.rename(final)
        sync_folder(folder.snapshots)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise no_space(error, final) from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Snapshot.open(final)


def _attributes(draft: Draft, arrays: dict[str, ArrayRecord], files: dict[str, Digest]) -> dict[str, Any]:
    step = draft.step
    return {
        "schema": SCHEMA,
        "snapshot": draft.snapshot_id,
        "parents": [draft.parent.id] if draft.parent is not None else [],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": {
            "name": step.name,
            "verb": step.verb,
            "component": step.component,
            "fingerprint": step.fingerprint,
            "options": step.options_json,
            "counts": dict(step.counts),
        },
        "partial": draft.partial,
        **({"columns": [_declaration(values.column) for values in draft.values]} if draft.values else {}),
        "counts": {
            "images": sum(len(part) for part in draft.parts),
            "regions": sum(len(part.region.label) for part in draft.parts),
            "relations": sum(len(part.relation.subject) for part in draft.parts),
        },
        "arrays": {path: {"rows": record.rows, "crc32c": record.crc32c} for path, record in sorted(arrays.items())},
        "files": {path: [digest.size, digest.crc32] for path, digest in sorted(files.items())},
    }


def _declaration(column: Column) -> dict[str, Any]:
    return {"target": column.target, "name": column.name, "kind": column.kind, "shape": list(column.shape)}


class _Arrays:
    """Writes the arrays of a draft, or links those that the parent has already."""

    def __init__(self, work: Path, parent: Snapshot | None) -> None:
        self._work = work
        self._parent = parent
        self._written: dict[str, dict[str, Digest]] = {}
        self._linked: dict[str, list[str]] = {}

    def files(self) -> dict[str, Digest]:
        """The digests of what was written, and of what was linked: as the parent states them, where it does."""
        found = {f"{path}/{name}": told for path, files in self._written.items() for name, told in files.items()}
        known = {} if self._parent is None else self._parent.meta.digests() or {}
        for names in self._linked.values():
            found.update((name, known.get(name) or digest_of(self._work / name)) for name in names)
        return found

    def write(self, draft: Draft) -> dict[str, ArrayRecord]:
        """Write all arrays; what each holds, by path."""
        # Worker threads, as `ArrayWriter` asks; few, so that few encoded shards are in memory at once.
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            begun = [(column.path, pool.submit(self._begin, column, data)) for column, data in _all_arrays(draft)]
            begun += [
                (path, pool.submit(self._begin_values, path, rows, values.is_parents))
                for values in draft.values
                for path, rows in _value_arrays(values)
            ]
            records: dict[str, ArrayRecord] = {}
            shards: list[Future[None]] = []
            for path, job in begun:
                records[path], writer = job.result()
                if writer is not None:
                    self._written[path] = writer.files
                    shards += [pool.submit(writer.write_shard, number) for number in range(writer.shards)]
            for shard in shards:
                shard.result()
        return records

    def _begin(self, column: StoredColumn, parts: list[np.ndarray]) -> tuple[ArrayRecord, ArrayWriter | None]:
        """What an array holds, and what writes its shards; None where the parent's files stand for it already."""
        data = Pieces(parts)
        if data.dtype != np.dtype(column.dtype):
            raise DatasetError(f"column {column.path} is {data.dtype}, it must be {np.dtype(column.dtype)}")
        record = ArrayRecord(len(data), checksum(parts))
        if self._is_parents(column.path, record, data):
            self._link(column.path)
            return record, None
        return record, ArrayWriter(self._work / column.path, data, column.fill)

    def _begin_values(self, path: str, rows: Rows, is_parents: bool) -> tuple[ArrayRecord, ArrayWriter | None]:
        """As `_begin`, of the values of a further column, which are not held; the parent's are linked unread."""
        if is_parents:
            assert self._parent is not None
            self._link(path)
            return self._parent.meta.arrays[path], None
        step = max(1, _BLOCK_BYTES // (rows.dtype.itemsize * math.prod(rows.trailing)))
        digest = checksum(rows.rows(start, start + step) for start in range(0, len(rows), step))
        return ArrayRecord(len(rows), digest), ArrayWriter(self._work / path, rows, 0)

    def _link(self, path: str) -> None:
        assert self._parent is not None
        names = _link_tree(self._parent.path / path, self._work / path)
        self._linked[path] = [f"{path}/{name}" for name in names]

    def _is_parents(self, path: str, record: ArrayRecord, data: Pieces) -> bool:
        """Whether the parent holds exactly these bytes; the checksum only saves most reads."""
        if self._parent is None or self._parent.meta.arrays.get(path) != record:
            return False
        stored = self._parent.array(path)
        return stored.dtype == data.dtype and all(
            stored.read(start, min(start + _BLOCK, len(data))).tobytes() == data.rows(start, start + _BLOCK).tobytes()
            for start in range(0, len(data), _BLOCK)
        )


def _value_arrays(values: NextColumn) -> Iterator[tuple[str, Rows]]:
    """The arrays of the values of a further column."""
    for part, rows in values.parts():
        yield f"{values.column.target}/{values.column.name}/{part.name}", rows


def _all_arrays(draft: Draft) -> Iterator[tuple[StoredColumn, list[np.ndarray]]]:
    yield from pieces_of(draft.parts)
    for column, data in draft.provenance.arrays():
        yield column, [data]
    for values in draft.values:
        path = f"{values.column.target}/{values.column.name}/{GIVEN}"
        yield StoredColumn(path, "u1", 0), values.given


def _link_tree(source: Path, target: Path) -> list[str]:
    """The files of `source` under `target` as hard links; as copies where the file system has no links. Their names."""
    names = []
    for path in sorted(source.rglob("*")):
        if path.is_file():
            names.append(path.relative_to(source).as_posix())
            link = target / names[-1]
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, link)
            except OSError:
                shutil.copyfile(path, link)
    return names


def _make_durable(work: Path) -> None:
    """Make files read-only, then files and folders durable, deepest first."""
    folders = [work]
    for path in work.rglob("*"):
        if path.is_dir():
            folders.append(path)
        elif path.stat().st_nlink == 1:
            path.chmod(_READ_ONLY)
            sync_file(path)
    for path in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        sync_folder(path)
