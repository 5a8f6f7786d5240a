"""Checking a dataset: every file by its digest, what rows say of each other, refs, journal, steps and paid answers."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.in_use import holding
from sgforge.dataset.maintenance.findings import Finding, told
from sgforge.dataset.maintenance.snapshot_checks import SnapshotCheck, SnapshotChecker
from sgforge.dataset.maintenance.sqlite_checks import sqlite_faults
from sgforge.dataset.maintenance.step_checks import step_findings, unsealed_files
from sgforge.dataset.publishing.apply_packed import index_faults
from sgforge.dataset.records import is_sound
from sgforge.dataset.snapshot import read_meta
from sgforge.dataset.states.index_file import index_fault
from sgforge.dataset.states.known_states import KnownWork, answer_columns, connect_to_read, damaged_records
from sgforge.dataset.states.state_index import StateIndex
from sgforge.errors import DatasetError, GraphError
from sgforge.packed import edit_columns
from sgforge.seals import CHANGED
from sgforge.sqlite_files import is_unmade
from sgforge.statekey import KEY_BYTES
from sgforge.text.wording import counted

__all__ = ["SnapshotCheck", "Verification", "findings_beside", "unsound_answers", "verify_dataset"]


@attrs.frozen
class Verification:
    """All of a dataset; `answers` is how many the journal holds. Nothing is wrong if `problems` is empty.

    `problems`: the findings as sentences, one for damage that several versions share. `notes`: what is no damage.
    """

    snapshots: tuple[SnapshotCheck, ...]
    answers: int
    findings: tuple[Finding, ...]
    problems: list[str]
    notes: tuple[str, ...] = ()


def verify_dataset(path: Path | str, *, is_locked: bool = False) -> Verification:
    """Read everything in the dataset at `path` and report what is wrong; nothing is changed.

    `is_locked`: the caller holds the lock; else what a run has open just now is looked at as far as it can be.
    """
    folder = DatasetFolder.open(path)
    with holding(folder.snapshots):
        return _verify(folder, is_locked=is_locked)


def _verify(folder: DatasetFolder, *, is_locked: bool) -> Verification:
    # Before the snapshots: one that a run publishes meanwhile is there before anything names it.
    named = {kind: folder.refs(kind) for kind in ("heads", "tags")}
    checker = SnapshotChecker(folder)
    checks = tuple(map(checker.check, checker.known))
    answers, beside = findings_beside(folder, named, checker.known, is_locked=is_locked)
    findings = (*checker.findings(), *beside)
    names = _names_of(named)
    return Verification(
        snapshots=checks,
        answers=answers,
        findings=findings,
        problems=[told(finding, names, folder.path) for finding in findings],
        notes=tuple(_notes(folder, checker)),
    )


def findings_beside(
    folder: DatasetFolder,
    named: Mapping[str, Mapping[str, str]],
    known: Sequence[str],
    *,
    is_locked: bool = False,
) -> tuple[int, list[Finding]]:
    """The part of `verify_dataset` that looks at everything but the versions' own files; how many answers wait.

    `named`: branches and tags, read before `known`, the ids of the versions.
    """
    answers, journal = _check_journal(folder, None if is_locked else folder.path / "lock")
    return answers, [
        *_marker_findings(folder),
        *_ref_findings(folder, named, known),
        *(Finding(kind="made", what=what, where=what.partition(":")[0]) for what in folder.files.problems()),
        *_circles(folder, known),
        *step_findings(folder),
        *_response_findings(folder),
        *_index_findings(folder),
        *journal,
    ]


def _names_of(named: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Branches and tags by the version that they stand for."""
    found = defaultdict(list)
    for kind, refs in named.items():
        for name, snapshot_id in refs.items():
            found[snapshot_id].append(f"{'branch' if kind == 'heads' else 'tag'} {name}")
    return found


def _notes(folder: DatasetFolder, checker: SnapshotChecker) -> Iterator[str]:
    """What was made before there were digests, and is checked by less."""
    if checker.unsealed:
        yield (
            f"{counted(len(checker.unsealed), 'snapshot')} of schema 2.0: the metadata of groups and arrays has no "
            f"digests, so only what cannot be read is found there: sgforge upgrade {folder.path} adds them"
        )
    if unsealed := unsealed_files(folder):
        yield (
            f"{counted(len(unsealed), 'file')} of steps without a digest: a change in them is not found: "
            f"sgforge upgrade {folder.path} adds it"
        )


def _marker_findings(folder: DatasetFolder) -> Iterator[Finding]:
    schema = folder.marker_schema()
    if not schema:
        what = "sgforge.json: its bytes are not those that were written"
        yield Finding(kind="marker", what=what, where="sgforge.json")
    elif schema == "2.0" and folder.sealed_ids():
        what = "sgforge.json says schema 2.0, and there are snapshots of schema 2.1"
        yield Finding(kind="marker", what=what, where="sgforge.json")


def _ref_findings(
    folder: DatasetFolder, named: Mapping[str, Mapping[str, str]], known: Sequence[str]
) -> Iterator[Finding]:
    for kind, refs in named.items():
        for name, error in folder.damaged_refs_by_name(kind).items():
            yield Finding(kind="ref", what=str(error), where=f"refs/{kind}/{name}")
        for name, snapshot_id in refs.items():
            where = f"refs/{kind}/{name}"
            if snapshot_id not in known:
                what = f"{kind}/{name} names snapshot {snapshot_id}, which is not here"
                yield Finding(kind="ref", what=what, where=where, needs=snapshot_id)
            elif not folder.is_plain_ref(kind, name):
                yield Finding(kind="ref", what=f"{where}: its bytes are not those that were written", where=where)


def _circles(folder: DatasetFolder, known: Sequence[str]) -> Iterator[Finding]:
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
            what = f"snapshot {at} names a parent that came from it"
            yield Finding(kind="content", what=what)
        done.update(way)


def _response_findings(folder: DatasetFolder) -> Iterator[Finding]:
    """What is wrong with the file of paid answers."""
    for fault in sqlite_faults(folder.responses, folder.path / f"{folder.responses.name}-ballast"):
        yield Finding(kind="sqlite", what=f"responses: {fault}", where=folder.responses.name)


def _index_findings(folder: DatasetFolder) -> Iterator[Finding]:
    """What is wrong with the file of known states, on which nothing depends."""
    name = folder.states_index.name
    if (fault := index_fault(folder.states_index)) is not None:
        yield Finding(kind="index", what=f"{name}: {fault}", where=name)


def _check_journal(folder: DatasetFolder, lock: Path | None) -> tuple[int, list[Finding]]:
    """How many answers the journal holds, and what is wrong with it; it is opened without the right to write."""
    path = folder.journal
    faults = [f"journal: {fault}" for fault in sqlite_faults(path, lock, folder.seals / path.name)]
    if not path.exists():
        return 0, [Finding(kind="sqlite", what=fault, where=path.name) for fault in faults]
    answers = 0
    rows: list[str] = []
    try:
        with closing(connect_to_read(path)) as base:
            rows += damaged_records(base)
            for _, problems in _answers(folder, base):
                answers += 1
                rows += problems
    except sqlite3.Error as error:
        faults += [] if is_unmade(error) else [f"journal: {error}"]
    # A row that is named says more than that the bytes of the file are others.
    faults = [fault for fault in dict.fromkeys(faults) if not rows or not fault.endswith(CHANGED)]
    found = [Finding(kind="sqlite", what=fault, where=path.name) for fault in faults]
    return answers, [*found, *(Finding(kind="answer", what=what, where=path.name) for what in rows)]


def _answers(folder: DatasetFolder, base: sqlite3.Connection) -> Iterator[tuple[int, list[str]]]:
    """The number of each answer, and what is wrong with it."""
    try:
        check = _AnswerCheck(KnownWork(folder).states)
    except DatasetError:  # of a snapshot, and told there
        check = _AnswerCheck(None)
    for number, *stored in base.execute(f"SELECT number, {answer_columns(base)} FROM answer ORDER BY number"):
        yield number, list(check.problem(stored))


def unsound_answers(folder: DatasetFolder) -> list[int]:
    """The numbers of the journal's answers with which something is wrong, as far as they can be read."""
    found: list[int] = []
    with suppress(sqlite3.Error), closing(connect_to_read(folder.journal)) as base:
        found.extend(number for number, problems in _answers(folder, base) if problems)
    return found


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
