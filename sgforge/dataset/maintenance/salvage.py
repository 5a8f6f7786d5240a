"""What can still be read of a damaged version, as a version of its own: its states are found there by the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from typing import Final

import numpy as np

from sgforge.columns import GraphColumns
from sgforge.columns.declared import values_of_sample
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.provenance import Provenance
from sgforge.dataset.publishing.next_values import NextValues
from sgforge.dataset.publishing.write_snapshot import Draft, write_snapshot
from sgforge.dataset.records import StepRecord
from sgforge.dataset.snapshot import Snapshot
from sgforge.errors import SgforgeError
from sgforge.file_refs import FileRef, is_made

__all__ = ["readable_rows", "salvage"]

_BLOCK: Final = 1024
"""Images that are read together; of those that cannot be, half as many."""


def readable_rows(folder: DatasetFolder, snapshot: Snapshot) -> list[int]:
    """The images of a version that can be read, and whose rows and files are in order."""
    found: list[int] = []
    waiting = [(start, min(start + _BLOCK, len(snapshot))) for start in range(0, len(snapshot), _BLOCK)][::-1]
    while waiting:
        start, stop = waiting.pop()
        try:
            bad = _bad_rows(folder, snapshot, start, stop)
        except (SgforgeError, ValueError, LookupError, ArithmeticError):
            if stop - start > 1:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
            continue
        found += [row for row in range(start, stop) if row not in bad]
    return found


def _bad_rows(folder: DatasetFolder, snapshot: Snapshot, start: int, stop: int) -> set[int]:
    """Of rows that can be read, those that are out of order, or lack a file."""
    part = snapshot.between(start, stop)
    bad = {start + fault.image for fault in part.faults()}
    for row, sample in zip(range(start, stop), part.samples(), strict=True):
        is_gone = is_made(sample.uri) and not folder.files.path_of(str(sample.uri)).is_file()
        full = snapshot.with_values(sample, row, state_only=True)
        values = [value.value for value in values_of_sample(full)] if full.has_values else []
        if is_gone or any(isinstance(value, FileRef) and not folder.files.has(value) for value in values):
            bad.add(row)
    return bad


def salvage(folder: DatasetFolder, snapshot: Snapshot, known: Collection[bytes]) -> Snapshot | None:
    """Publish the states of a damaged version that can be read and that stand nowhere else; None where there are none.

    `known`: the keys of the states that stand elsewhere.
    """
    rows = [row for row in readable_rows(folder, snapshot) if snapshot.keys[row].tobytes() not in known]
    if not rows:
        return None
    parts = list(_parts(snapshot, rows))
    values = NextValues(folder.snapshots)
    start = 0
    for part in parts:
        places = {place: (snapshot, row) for place, row in enumerate(rows[start : start + len(part)])}
        values.add_slice(start, part.image, places)
        start += len(part)
    digest = hashlib.sha256(f"sgforge repair {snapshot.id}".encode())
    digest.update(np.asarray(rows, "<i8").tobytes())
    made_of = snapshot.meta.step
    step = StepRecord(
        name=made_of.name,
        verb=made_of.verb,
        component=made_of.component,
        fingerprint=made_of.fingerprint,
        options_json=made_of.options_json,
    )
    draft = Draft(
        snapshot_id=digest.hexdigest()[:32],
        parts=parts,
        provenance=_calls_of(snapshot, rows),
        step=step,
        partial=True,
        values=values.columns(),
    )
    final = folder.snapshot(draft.snapshot_id)
    return Snapshot.open(final) if final.is_dir() else write_snapshot(folder, draft)


def _parts(snapshot: Snapshot, rows: list[int]) -> Iterator[GraphColumns]:
    """The images of these rows, run by run; all over the vocabularies of the whole."""
    start = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at] != rows[at - 1] + 1 or at - start == _BLOCK:
            yield snapshot.between(rows[start], rows[at - 1] + 1)
            start = at


def _calls_of(snapshot: Snapshot, rows: list[int]) -> Provenance:
    place = np.full(len(snapshot), -1, np.int64)
    place[rows] = np.arange(len(rows))
    try:
        return snapshot.provenance.moved(place)
    except (SgforgeError, ValueError, LookupError):
        return Provenance()
