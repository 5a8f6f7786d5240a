"""DatasetWriter: the one process that journals answers, publishes snapshots and moves refs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np

from sgforge.columns import GraphColumns
from sgforge.dataset.folder import DatasetFolder, Lock, no_space, write_durably
from sgforge.dataset.journal import Journal
from sgforge.dataset.provenance import Provenance
from sgforge.dataset.publishing.memory import give_back_memory
from sgforge.dataset.publishing.next_snapshot import Failures, compose
from sgforge.dataset.publishing.next_values import NextValues, fill_packed, fill_values
from sgforge.dataset.publishing.write_snapshot import Draft, write_snapshot
from sgforge.dataset.records import SOURCE_STEP, FolderUse, RunRecord, Selected, StepRecord
from sgforge.dataset.snapshot import Snapshot
from sgforge.dataset.states.state_index import StateIndex, as_keys
from sgforge.dataset.zarr_arrays.layout import arrays_of
from sgforge.durable import sync_folder
from sgforge.edits import Value
from sgforge.errors import DatasetError
from sgforge.graph import Sample
from sgforge.made_files import MadeFiles
from sgforge.packed import ValuePacker, pack_values
from sgforge.text.wording import counted

__all__ = ["DatasetWriter"]

_IDENTITY: Final = "2.0"
"""The schema that counts in the id of a version: one that was published before a minor change is found again."""
_SOURCE_STEP: Final = StepRecord(SOURCE_STEP, "source", "", "source")


class DatasetWriter:
    """Writes one dataset; open it with `with DatasetWriter.open(path) as writer`.

    Only one writer at a time. What a killed writer left half-done is removed on opening. A folder that was made for
    this writer is taken away again if an error ends the `with` before anything was put in.
    """

    def __init__(self, folder: DatasetFolder, lock: Lock, journal: Journal, made: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._lock = lock
        self._made = made
        self._states: StateIndex | None = None
        self.journal = journal

    @classmethod
    def open(cls, path: Path | str) -> DatasetWriter:
        """Create or open the dataset at `path` for writing.

        A `DatasetError` where another program's files lie, where another writer is at work, or on an unknown schema.
        """
        made = [each for each in (Path(path), *Path(path).parents) if not each.exists()]
        folder = DatasetFolder.prepare(path)
        lock = Lock.take(folder.path)
        try:
            folder.mark()
            folder.clean()
            return cls(folder, lock, Journal(folder.journal), made)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._save_states()
            with closing(self.journal) as journal:
                has_failed = isinstance(error, Exception) and bool(self._made)
                is_unused = has_failed and self._folder.is_unused() and not len(journal)
            if is_unused:
                self._folder.remove()
                with suppress(OSError):  # a folder above it in which something else lies by now
                    for folder in self._made[1:]:
                        folder.rmdir()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the journal and let others write."""
        try:
            self._save_states()
            self.journal.close()
        finally:
            self._lock.release()

    def _save_states(self) -> None:
        if self._states is not None:
            self._states.save()

    @property
    def path(self) -> Path:
        """The dataset's folder."""
        return self._folder.path

    @property
    def files(self) -> MadeFiles:
        """The files that steps made."""
        return self._folder.files

    def states(self) -> StateIndex:
        """Where every state of the dataset stands; kept up to date with what this writer publishes."""
        if self._states is None:
            self._states = StateIndex(self._folder)
        return self._states

    def begin_run(self, run: RunRecord) -> None:
        """Remember a run before its first answer."""
        self.journal.begin_run(run)

    def end_run(self, run_id: str, snapshot: Snapshot) -> None:
        """Remember which version a run ended with."""
        self.journal.end_uses(run_id, snapshot.id)

    def begin_step(self, step: StepRecord) -> None:
        """Remember a step before its first answer, so that `sgforge publish` can name it."""
        self.journal.begin_step(step)

    def folder_for(self, fingerprint: str, use: FolderUse | None = None) -> Path:
        """The folder of a step's checkpoints, reports and predictions; made if it is not there.

        `use`: by whom it is used, so that `sgforge gc` knows what still needs it.
        """
        folder = self._folder.step(fingerprint)
        if use is not None:  # before there is anything that could be taken for a leftover
            self.journal.note_use(use)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        except OSError as error:
            raise no_space(error, folder) from error
        return folder

    def move_branch(self, name: str, snapshot: Snapshot) -> None:
        """Let branch `name` stand for `snapshot`; atomic and durable. A damaged one is a `DatasetError`."""
        fault = snapshot.fault(self._folder.sealed(snapshot.id))
        if fault is not None:
            raise DatasetError(
                f"{fault}; version {snapshot.id[:12]} is damaged, so branch {name} stays where it is: sgforge repair "
                f"{self.path} puts a sound copy into all versions that share it, or moves them aside; run it first"
            )
        write_durably(self._folder.ref("heads", name), snapshot.id + "\n")

    def tag(self, name: str, snapshot_id: str) -> None:
        """Name a snapshot for good; a tag that exists for another snapshot is a `DatasetError`."""
        path = self._folder.ref("tags", name)
        if not self._folder.snapshot(snapshot_id).is_dir():
            raise DatasetError(f"{self.path} has no snapshot {snapshot_id}")
        if path.exists() and (known := self._folder.read_ref("tags", name)) != snapshot_id:
            raise DatasetError(f"tag {name!r} stands for {known} already and never moves; choose another name")
        if self._folder.ref("heads", name).exists():
            raise DatasetError(f"{name!r} is a branch; choose another name for the tag")
        write_durably(path, snapshot_id + "\n")

    def forget_ref(self, kind: str, name: str) -> str | None:
        """Take the name of a branch ("heads") or tag ("tags") away; what it stood for, None if its file was damaged.

        The version stays until `sgforge gc` finds that nothing needs it; a name that is not there is a `DatasetError`.
        """
        path = self._folder.ref(kind, name)
        what = "branch" if kind == "heads" else "tag"
        if not os.path.lexists(path):
            known = ", ".join(self._folder.refs(kind)) or "none"
            raise DatasetError(f"{self.path} has no {what} {name!r}; known: {known}")
        stood_for: str | None = None
        with suppress(DatasetError):
            stood_for = self._folder.read_ref(kind, name)
        try:
            path.unlink()
            sync_folder(path.parent)
        except OSError as error:
            raise no_space(error, path) from error
        return stood_for

    def branches(self) -> dict[str, str]:
        """Snapshot id by branch name."""
        return self._folder.refs("heads")

    def snapshot_ids(self) -> list[str]:
        """All published snapshots, sorted by id."""
        return self._folder.snapshot_ids()

    def resolve(self, ref: str) -> str:
        """The snapshot id that a branch, a tag or (the start of) an id names."""
        return self._folder.resolve(ref)

    def snapshot(self, ref: str) -> Snapshot:
        """The snapshot that a branch, tag or id names."""
        return self.states().snapshot(self._folder.resolve(ref))

    def publish_source(
        self,
        samples: Iterable[Sample] | GraphColumns,
        keys: Sequence[bytes] | np.ndarray,
        values: Mapping[int, Sequence[Value]] | None = None,
    ) -> Snapshot:
        """Publish what a source gave, `keys` in the order of `samples`; the snapshot there is, if it is the same.

        `values`: of further columns, by the number of the image, where `samples` are columns, which have none.

        Rows are sorted by the UTF-8 bytes of the image ids; an id that occurs twice is a `GraphError`.
        """
        snapshot = self._write(self._source_draft(samples, keys, values or {}))
        give_back_memory()
        return snapshot

    def _source_draft(
        self,
        samples: Iterable[Sample] | GraphColumns,
        keys: Sequence[bytes] | np.ndarray,
        values: Mapping[int, Sequence[Value]],
    ) -> Draft:
        """What the snapshot of a source is to hold; as of a step nothing else keeps it."""
        further = NextValues(self._folder.snapshots)
        columns = samples if isinstance(samples, GraphColumns) else GraphColumns.from_samples(_noting(samples, further))
        for number, given in values.items():
            fill_values(further, number, given)
        wanted = as_keys(keys)
        if len(wanted) != len(columns):
            raise DatasetError(
                f"{counted(len(columns), 'sample')} and {counted(len(wanted), 'key')}; there must be one key per sample"
            )
        further.reorder(columns.image.id)
        columns = columns.with_keys(wanted).sorted_by_id().compact()
        further.add_slice(0, columns.image, {})
        digest = hashlib.sha256(f"sgforge source {_IDENTITY}".encode())
        for column, data in arrays_of(columns):
            digest.update(f"{column.path} {data.shape} ".encode())
            digest.update(np.ascontiguousarray(data).data)
        filled = further.columns()
        for each in filled:
            each.update(digest)
        return Draft(digest.hexdigest()[:32], [columns], Provenance(), _SOURCE_STEP, values=filled)

    def publish(
        self,
        step: StepRecord,
        parent: Snapshot,
        keys: Sequence[bytes] | np.ndarray,
        failures: Failures | None = None,
        *,
        partial: bool = False,
        selected: Selected | None = None,
    ) -> Snapshot:
        """Publish the states with these keys, one per image in the parent's order.

        Each is the parent's row (same key), or stands in some snapshot of the dataset, or is the parent's row with the
        journal's edit of that key applied; a key that is none of these is a `DatasetError`. `failures`: (step, reason)
        by image id. `selected`: what a selector answered, which is in no journal. Journal answers are forgotten only
        after the snapshot is durable. Publishing the same again returns the snapshot there is.
        """
        wanted = as_keys(keys)
        if len(wanted) != len(parent):
            raise DatasetError(
                f"{counted(len(parent), 'image')} and {counted(len(wanted), 'key')}; there must be one key per image"
            )
        failures = failures or {}
        selected = selected or Selected()
        snapshot_id = _step_id(step, parent, wanted, failures, partial, selected.chosen)
        if self._is_there(snapshot_id):
            snapshot = self.states().snapshot(snapshot_id)
        else:
            snapshot = self._write(self._draft(snapshot_id, step, parent, wanted, failures, partial, selected))
        self.journal.forget(row.tobytes() for row in wanted)
        give_back_memory()
        return snapshot

    def _draft(
        self,
        snapshot_id: str,
        step: StepRecord,
        parent: Snapshot,
        keys: np.ndarray,
        failures: Failures,
        partial: bool,
        selected: Selected,
    ) -> Draft:
        """What a new snapshot is to hold; nothing else keeps it, so that it is freed once it is written."""
        with parent.damage_told():
            content = compose(parent, keys, failures, self.states(), self.journal, selected)
        return Draft(
            snapshot_id=snapshot_id,
            parts=content.parts,
            provenance=content.provenance,
            step=step,
            parent=parent,
            partial=partial,
            values=content.values,
        )

    def _is_there(self, snapshot_id: str) -> bool:
        """Whether a version is published already; a damaged one that nothing leads to is moved aside."""
        path = self._folder.snapshot(snapshot_id)
        if path.is_dir() and self.states().left_out.pop(snapshot_id, None) is not None:
            self._folder.set_aside(path)
        return path.is_dir()

    def _write(self, draft: Draft) -> Snapshot:
        if self._is_there(draft.snapshot_id):
            return self.states().snapshot(draft.snapshot_id)
        snapshot = write_snapshot(self._folder, draft)
        del draft  # before its states are taken in, which takes memory too
        if self._states is not None:
            self._states.add([snapshot.id], are_written=True)
        return snapshot


def _noting(samples: Iterable[Sample], values: NextValues) -> Iterator[Sample]:
    """The samples, as their values are put aside."""
    packer = ValuePacker()
    for number, sample in enumerate(samples):
        if sample.has_values:
            fill_packed(values, number, packer.pack(sample))
        yield sample


def _step_id(
    step: StepRecord,
    parent: Snapshot,
    keys: np.ndarray,
    failures: Failures,
    partial: bool,
    chosen: Mapping[int, Value],
) -> str:
    """The id says everything that decides the content, so that publishing again finds what is there."""
    identity = [_IDENTITY, parent.id, step.name, step.verb, step.component, step.fingerprint, partial]
    failed = sorted((image_id, *why) for image_id, why in failures.items())
    digest = hashlib.sha256(json.dumps([identity, failed]).encode())
    digest.update(keys.tobytes())
    for row, value in sorted(chosen.items()):
        digest.update(json.dumps([row, pack_values([value])], default=bytes.hex).encode())
    return digest.hexdigest()[:32]
