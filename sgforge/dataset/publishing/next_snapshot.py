"""What a new snapshot holds: each image as its parent has it, from where its state stands, or with its edit applied.

The work goes through the images slice by slice, so that a dataset of any size is published in bounded memory beside
its own columns.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import attrs
import numpy as np

from sgforge.columns import GraphColumns, ImageColumns, Ragged
from sgforge.columns.words import merged, sorted_words
from sgforge.dataset.journal import Journal
from sgforge.dataset.provenance import Provenance
from sgforge.dataset.publishing.apply_packed import apply_columns
from sgforge.dataset.publishing.memory import give_back_memory
from sgforge.dataset.publishing.next_values import NextColumn, NextValues, fill_values
from sgforge.dataset.records import JournalRow, RunRecord, Selected, StateRef
from sgforge.dataset.snapshot import Snapshot
from sgforge.dataset.states.state_index import StateIndex
from sgforge.errors import DatasetError
from sgforge.file_refs import is_made
from sgforge.packed import edit_columns

__all__ = ["Content", "Failures", "compose"]

Failures: TypeAlias = Mapping[str, tuple[str, str]]
"""(step, reason) by image id."""

_SLICE: Final = 8192
_NAMING_COLUMNS: Final = ("id", "uri", "split", "source", "sha256", "failed_step", "failed_reason")
"""What an image keeps when its graph is taken from elsewhere: equal images under two ids share a state."""


@attrs.frozen(eq=False)
class Content:
    """What a snapshot is to hold; `parts` are all images in order, over the same vocabularies."""

    parts: tuple[GraphColumns, ...]
    provenance: Provenance
    values: tuple[NextColumn, ...] = ()


def compose(
    parent: Snapshot,
    keys: np.ndarray,
    failures: Failures,
    states: StateIndex,
    journal: Journal,
    selected: Selected = Selected(),
) -> Content:
    """The states with these keys, (N, KEY_BYTES) in the parent's order; one that stands nowhere is a `DatasetError`.

    `selected`: answers beside those of the journal, and values of the version alone.
    """
    work = _Composer(parent, keys, states, journal, selected)
    unknown = sorted(set(failures) - set(parent.image_ids)) if failures else []
    if unknown:
        raise DatasetError(f"image {unknown[0]!r} failed but is not in the snapshot")
    with _no_collection():
        return work.whole(failures)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing here makes cycles, and the collector would walk the millions of texts of unpacked edits in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Composer:
    """Composes slices of one snapshot."""

    def __init__(
        self, parent: Snapshot, keys: np.ndarray, states: StateIndex, journal: Journal, selected: Selected
    ) -> None:
        self._selected = selected
        self._parent = parent
        self._keys = keys
        self._states = states
        self._journal = journal
        self._runs: list[RunRecord] = journal.runs()
        self._changed = (parent.keys != keys).any(axis=1)
        self._values = NextValues(parent.path.parent, parent)

    def whole(self, failures: Failures) -> Content:
        """All images, with their failures marked, over exactly the texts that are used."""
        columns: list[GraphColumns] = []
        calls: list[Provenance] = [Provenance()]
        for start in range(0, len(self._parent), _SLICE):
            stop = min(start + _SLICE, len(self._parent))
            part, part_calls = self._part(start, stop)
            columns.append(_with_failures(part, failures).with_keys(self._keys[start:stop]))
            calls.append(part_calls)
            give_back_memory()  # of what was unpacked, or it stays with this thread
        words = sorted_words([part.used() for part in columns])
        parts = tuple(columns.pop(0).over(words) for _ in range(len(columns)))
        values = tuple(self._values.columns())
        return Content(parts or (GraphColumns.empty(),), Provenance.merged(calls), values)

    def _part(self, start: int, stop: int) -> tuple[GraphColumns, Provenance]:
        """Images start to stop, and the calls behind them."""
        own = self._parent.between(start, stop)
        calls = self._parent.provenance.moved(
            _places(np.arange(start, stop), np.arange(start, stop), len(self._parent))
        )
        changed = np.flatnonzero(self._changed[start:stop])
        refs = self._states.find(self._keys[start + changed])
        reused = {int(row): ref for row, ref in zip(changed, refs, strict=True) if ref is not None}
        edited = np.asarray([row for row in changed.tolist() if row not in reused], np.int64)
        answers = self._answers(start + edited)
        parts = [calls]
        if reused:
            own, parts = self._with_reused(own, start, reused, calls)
        if len(edited):
            edits = edit_columns([answer.edit for answer in answers])
            own = apply_columns(own, edited, edits, [answer.step for answer in answers])
            for number, block in edits.values:
                self._values.fill(start + int(edited[number]), block)
        for row in range(start, stop) if self._selected.chosen else ():
            if row in self._selected.chosen:
                fill_values(self._values, row, [self._selected.chosen[row]])
        taken = {row: (self._states.snapshot(ref.snapshot_id), ref.row) for row, ref in reused.items()}
        self._values.add_slice(start, own.image, taken)
        parts.append(Provenance.of_answers((start + edited).tolist(), answers, self._runs))
        return own, Provenance.merged(parts)

    def _answers(self, rows: np.ndarray) -> list[JournalRow]:
        wanted = [self._keys[row].tobytes() for row in rows]
        found = {**self._journal.get(dict.fromkeys(wanted)), **self._selected.dropped}
        for row, key in zip(rows.tolist(), wanted, strict=True):
            if key not in found:
                image_id = self._parent.image_ids[row]
                raise DatasetError(
                    f"{self._parent.path.parent.parent}: image {image_id!r} has no answer under the key "
                    f"{key.hex()[:12]}...: nothing was published"
                )
        return [found[key] for key in wanted]

    def _with_reused(
        self, own: GraphColumns, start: int, reused: Mapping[int, StateRef], calls: Provenance
    ) -> tuple[GraphColumns, list[Provenance]]:
        """The slice with some graphs taken from where their states stand, and the calls behind all of it."""
        taken = np.fromiter(reused, np.int64, len(reused))
        rest = np.setdiff1d(np.arange(len(own)), taken)
        columns, rows = [own.gather(rest)], [rest]
        provenances = [calls.moved(_places(start + rest, start + rest, len(self._parent)))]
        by_snapshot: dict[str, list[int]] = {}
        for row, ref in reused.items():
            by_snapshot.setdefault(ref.snapshot_id, []).append(row)
        for snapshot_id, targets in by_snapshot.items():
            found = np.asarray([reused[row].row for row in targets], np.int64)
            snapshot = self._states.snapshot(snapshot_id)
            columns.append(_gathered(snapshot, found))
            rows.append(np.asarray(targets, np.int64))
            provenances.extend(_calls_of(snapshot, found, start + rows[-1]))
        mixed = GraphColumns.concat(columns).gather(np.argsort(np.concatenate(rows)))
        words = merged([mixed.vocabularies, own.vocabularies])
        names = {name: getattr(own.over(words).image, name) for name in _NAMING_COLUMNS}
        mixed = mixed.over(words)
        named = attrs.evolve(mixed.image, **names)
        return attrs.evolve(mixed, image=_with_made_of(named, mixed.image, taken)), provenances


def _with_made_of(named: ImageColumns, states: ImageColumns, rows: np.ndarray) -> ImageColumns:
    """The images of these rows with the pictures that a step made for the state: they are part of it."""
    made = [row for row in rows.tolist() if is_made(states.uri.bytes_at(row))]
    if not made:
        return named
    uris, digests = named.uri.byte_rows(), named.sha256.copy()
    digests[made] = states.sha256[made]
    for row in made:
        uris[row] = states.uri.bytes_at(row)
    return attrs.evolve(named, uri=Ragged.of_bytes(uris), sha256=digests)


def _gathered(snapshot: Snapshot, rows: np.ndarray) -> GraphColumns:
    """These rows of a snapshot; both sides are sorted by id, so they lie close together: only their span is read."""
    first = int(rows.min())
    return snapshot.between(first, int(rows.max()) + 1).gather(rows - first)


def _calls_of(snapshot: Snapshot, rows: np.ndarray, targets: np.ndarray) -> Iterator[Provenance]:
    """The calls of `rows` for the images `targets`; a row that serves several images is taken several times."""
    while len(rows):
        _, first = np.unique(rows, return_index=True)
        yield snapshot.provenance.moved(_places(rows[first], targets[first], len(snapshot)))
        rows, targets = np.delete(rows, first), np.delete(targets, first)


def _places(rows: np.ndarray, targets: np.ndarray, count: int) -> np.ndarray:
    """New row by old row of `count`, -1 for rows that go nowhere."""
    table = np.full(count, -1, np.int64)
    table[rows] = targets
    return table


def _with_failures(columns: GraphColumns, failures: Failures) -> GraphColumns:
    row_of = (
        {image_id: row for row, image_id in enumerate(columns.image.ids) if image_id in failures} if failures else {}
    )
    if not row_of:
        return columns
    failures = {image_id: failures[image_id] for image_id in row_of}
    words = columns.vocabularies
    steps, reasons = _ids(words.step, failures, 0), _ids(words.reason, failures, 1)
    columns = columns.over(attrs.evolve(words, step=tuple(steps), reason=tuple(reasons)))
    failed_step, failed_reason = columns.image.failed_step.copy(), columns.image.failed_reason.copy()
    for image_id, (step, reason) in failures.items():
        failed_step[row_of[image_id]] = steps[step]
        failed_reason[row_of[image_id]] = reasons[reason]
    image = attrs.evolve(columns.image, failed_step=failed_step, failed_reason=failed_reason)
    return attrs.evolve(columns, image=image)


def _ids(words: Sequence[str], failures: Failures, place: int) -> dict[str, int]:
    texts = dict.fromkeys([*words, *(why[place] for why in failures.values())])
    return {text: index for index, text in enumerate(texts)}
