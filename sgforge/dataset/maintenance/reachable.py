"""Which versions of a dataset something still needs: a branch or tag, their age, a reader, an answer that waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property

import attrs
import numpy as np

from sgforge.columns import Ragged
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.in_use import Hold
from sgforge.dataset.records import USE_COLUMNS, FolderUse, is_sound, use_of
from sgforge.dataset.snapshot import Snapshot, SnapshotMeta, read_meta
from sgforge.dataset.states.known_states import answer_columns, ask_journal, has_table
from sgforge.dataset.states.state_index import as_keys
from sgforge.errors import DatasetError, GraphError
from sgforge.file_refs import FileRef, ImageRef, is_made
from sgforge.packed import unpack_edit
from sgforge.statekey import KEY_BYTES

__all__ = ["Journalled", "Versions", "moment_of", "named_files", "read_journal"]


@attrs.frozen
class Journalled:
    """What a journal names: uses of step folders, states that its answers were made from and that no answer makes,
    the versions to which steps began to answer, and the files that answers made."""

    uses: tuple[FolderUse, ...] = ()
    parents: frozenset[bytes] = frozenset()
    starts: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()


class Versions:
    """The versions of a dataset with their parents; a damaged one is there, without a description."""

    def __init__(self, folder: DatasetFolder) -> None:
        self._folder = folder
        self._heads, self._tags = folder.refs("heads"), folder.refs("tags")
        for damage in (*folder.damaged_refs("heads"), *folder.damaged_refs("tags")):
            raise DatasetError(f"{damage}; until then it is not known what it stood for")
        # After the refs: what a run publishes meanwhile is there before anything names it.
        self.metas: dict[str, SnapshotMeta | None] = {each: self._meta(each) for each in folder.snapshot_ids()}
        for kind, refs in (("branch", self._heads), ("tag", self._tags)):
            for name, snapshot_id in refs.items():
                if snapshot_id not in self.metas:
                    raise DatasetError(
                        f"{folder.path}: {kind} {name!r} names version {snapshot_id[:12]}, which is not here, so it "
                        f"is not known what it came from: run again, or take the name away (sgforge "
                        f"{'branch --delete' if kind == 'branch' else 'untag'})"
                    )

    def _meta(self, snapshot_id: str) -> SnapshotMeta | None:
        try:
            return read_meta(self._folder.snapshot(snapshot_id))
        except DatasetError:
            return None

    def reach(self, roots: Iterable[str]) -> set[str]:
        """These versions and all that they came from, as far as they are here.

        One of them that is damaged is a `DatasetError`: nobody knows what it came from.
        """
        found: set[str] = set()
        waiting = [root for root in roots if root in self.metas]
        while waiting:
            snapshot_id = waiting.pop()
            if snapshot_id in found:
                continue
            found.add(snapshot_id)
            meta = self.metas[snapshot_id]
            if meta is None:
                raise DatasetError(
                    f"{self._folder.snapshot(snapshot_id)} is needed and damaged, so it is not known what it came "
                    "from; mend it first: sgforge verify says what is wrong"
                )
            waiting += [parent for parent in meta.parents if parent in self.metas]
        return found

    @cached_property
    def by_branch(self) -> Mapping[str, set[str]]:
        """What each branch reaches."""
        return {name: self.reach([head]) for name, head in self._heads.items()}

    @property
    def tagged(self) -> list[str]:
        """What tags stand for."""
        return list(self._tags.values())

    def younger_than(self, moment: datetime) -> list[str]:
        """Versions that were made after a moment."""
        return [snapshot_id for snapshot_id in self.metas if self.created(snapshot_id) >= moment]

    def created(self, snapshot_id: str) -> datetime:
        """When a version was made, as it says itself; where it does not, when its folder was last changed."""
        meta = self.metas[snapshot_id]
        return moment_of("" if meta is None else meta.created) or datetime.fromtimestamp(
            self._folder.snapshot(snapshot_id).stat().st_mtime, UTC
        )

    def in_use(self) -> Iterator[str]:
        """Versions that some process has open."""
        for snapshot_id in self.metas:
            hold = Hold.alone(self._folder.snapshot(snapshot_id))
            if hold is None:
                yield snapshot_id
            else:
                hold.release()

    def answered_from(self, journalled: Journalled, kept: Collection[str]) -> Iterator[str]:
        """Versions beside the kept ones that have states from which answers of the journal were made.

        Those that a run began at, and any for states that no kept one has.
        """
        wanted = as_keys(sorted(journalled.parents)) if journalled.parents else np.zeros((0, KEY_BYTES), np.uint8)
        missing = wanted.view(f"V{KEY_BYTES}").reshape(-1)
        if not len(missing):
            return
        everywhere = missing
        others = [each for each in self.metas if each not in kept and self.metas[each] is not None]
        for snapshot_id in kept:
            missing = np.setdiff1d(missing, self._keys(snapshot_id))
        for snapshot_id in others:
            keys = self._keys(snapshot_id)
            if np.isin(missing, keys).any() or (snapshot_id in journalled.starts and np.isin(everywhere, keys).any()):
                yield snapshot_id

    def _keys(self, snapshot_id: str) -> np.ndarray:
        keys = Snapshot.open(self._folder.snapshot(snapshot_id)).keys
        return np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").reshape(-1)


def moment_of(text: str) -> datetime | None:
    """The moment that an ISO 8601 text names; None for another text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def read_journal(folder: DatasetFolder) -> Journalled:
    """What the journal names; it is opened without the right to write."""

    def ask(base: sqlite3.Connection) -> Journalled:
        uses: list[FolderUse] = []
        if has_table(base, "folder_use"):
            uses = [use_of(row) for row in base.execute(f"SELECT {USE_COLUMNS} FROM folder_use ORDER BY number")]
        starts: list[str] = []
        if has_table(base, "start"):
            starts = [snapshot for (snapshot,) in base.execute("SELECT snapshot FROM start")]
        keys: set[bytes] = set()
        parents: set[bytes] = set()
        files: set[str] = set()
        if has_table(base, "answer"):
            for stored in filter(is_sound, base.execute(f"SELECT {answer_columns(base)} FROM answer")):
                key, _, _, edit, *_, parent_key, _ = stored
                keys.add(key)
                parents.add(parent_key)
                files.update(_files_of(edit))
        at_start = frozenset(key for key in parents - keys if len(key) == KEY_BYTES)
        return Journalled(tuple(uses), at_start, tuple(starts), frozenset(files))

    return ask_journal(folder.journal, ask, Journalled())


def _files_of(packed: bytes) -> Iterator[str]:
    """The sha256 of each file that an answer made."""
    try:
        edit = unpack_edit(packed)
    except (GraphError, ValueError, LookupError, TypeError):
        return  # nobody can use it any more, and verify names it
    if isinstance(edit.image, ImageRef):
        yield edit.image.sha256
    yield from (value.value.sha256 for value in edit.values if isinstance(value.value, FileRef))


def named_files(snapshot: Snapshot, seen: set[object]) -> Iterator[str]:
    """The sha256 of each file that a version names; columns that were `seen` in another are left out."""
    arrays = snapshot.meta.arrays
    column = ("uris", arrays.get("image/uri_bytes"), arrays.get("image/uri_len"))
    if column not in seen:
        seen.add(column)
        uris = snapshot.column("image/uri")
        assert isinstance(uris, Ragged)
        yield from (uri.rpartition("/")[2].partition(".")[0] for uri in uris.texts() if is_made(uri))
    for declared in snapshot.meta.columns:
        path = f"{declared.target}/{declared.name}/sha256"
        if declared.is_filed and (path, arrays.get(path)) not in seen:
            seen.add((path, arrays.get(path)))
            yield from (row.tobytes().hex() for row in snapshot.array(path).read())
