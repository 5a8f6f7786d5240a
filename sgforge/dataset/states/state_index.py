"""StateIndex: in which snapshot the state of an image with a given key stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import numpy as np

from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.records import StateRef
from sgforge.dataset.snapshot import Snapshot
from sgforge.dataset.states.index_file import SavedStates, prefixes_of, read_index, write_index
from sgforge.errors import DatasetError
from sgforge.graph import SceneGraph
from sgforge.statekey import KEY_BYTES, StateKeys

__all__ = ["StateIndex", "as_keys"]

_MANY: Final = 8
"""So many snapshots that the file misses are worth to write it anew."""
_NO_STATES: Final = (np.zeros((0, KEY_BYTES), np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int32))


def as_keys(keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
    """Keys as (N, KEY_BYTES) uint8; keys of another length are a `DatasetError`."""
    if isinstance(keys, StateKeys):
        joined = np.frombuffer(bytes(keys.joined()), np.uint8)
    else:
        joined = keys if isinstance(keys, np.ndarray) else np.frombuffer(b"".join(keys), np.uint8)
    if joined.size != len(keys) * KEY_BYTES:
        raise DatasetError(f"{len(keys)} state keys hold {joined.size} bytes; a state key has {KEY_BYTES}")
    return joined.astype(np.uint8, copy=False).reshape(-1, KEY_BYTES)


class StateIndex:
    """All states of all snapshots of a dataset, found by key; snapshots published later are added with `add`.

    A damaged one that no branch or tag leads to is left out, and stands in `left_out` with what is wrong; any other is
    a `DatasetError`. Whether one that nothing leads to is damaged is looked at when a state of it is first found.
    Those of most snapshots are read from one file, and each that is found there is looked up in its snapshot before it
    is told.
    """

    def __init__(self, folder: DatasetFolder) -> None:
        self._folder = folder
        self._snapshots: dict[str, Snapshot] = {}
        self._sound: set[str] = set()
        self.left_out: dict[str, str] = {}
        self._start(read_index(folder) or SavedStates((), *_NO_STATES))

    def _start(self, saved: SavedStates) -> None:
        """Begin with what was saved, and read the keys of all other snapshots."""
        self._begin_with(saved)
        self.add(self._folder.snapshot_ids())

    def _begin_with(self, saved: SavedStates) -> None:
        self._saved = len(saved.snapshots)
        self._order = list(saved.snapshots)
        # In the order of the keys' prefixes.
        self._keys, self._owner, self._row = saved.keys, saved.owner, saved.row
        self._prefixes = prefixes_of(self._keys)

    def save(self, least: int = _MANY) -> None:
        """Write what is known to the file from which the next start reads it, if that misses `least` snapshots.

        The lock must be held. On a full disk it is not written; nothing depends on it.
        """
        if len(self._order) - self._saved < least:
            return
        with suppress(OSError, DatasetError):
            write_index(self._folder, SavedStates(self._order, self._keys, self._owner, self._row))
            self._saved = len(self._order)

    def add(self, snapshot_ids: Iterable[str], *, are_written: bool = False) -> None:
        """Take in the states of more snapshots; those that are known already are skipped.

        `are_written`: they were written just now, and are not read again to see whether they are sound.
        """
        fresh = [snapshot_id for snapshot_id in snapshot_ids if snapshot_id not in self._order]
        read = {snapshot_id: keys for snapshot_id in fresh if (keys := self._keys_of(snapshot_id)) is not None}
        if not read:
            return
        if are_written:
            self._sound.update(read)
        fresh, parts = list(read), list(read.values())
        first = len(self._order)
        self._order.extend(fresh)
        sizes = [len(part) for part in parts]
        keys = np.concatenate([self._keys, *parts])
        owner = np.concatenate([self._owner, np.repeat(np.arange(first, first + len(fresh), dtype=np.int32), sizes)])
        row = np.concatenate([self._row, *(np.arange(size, dtype=np.int32) for size in sizes)])
        order = np.argsort(prefixes_of(keys), kind="stable")
        keys = keys[order]
        # Snapshots share most states with others; the first place of each is enough.
        is_new = np.ones(len(keys), bool)
        is_new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        self._keys, self._owner, self._row = keys[is_new], owner[order][is_new], row[order][is_new]
        self._prefixes = prefixes_of(self._keys)

    def _keys_of(self, snapshot_id: str) -> np.ndarray | None:
        """The keys of a snapshot; None for one that is left out."""
        if snapshot_id in self.left_out:
            return None
        try:
            return self.snapshot(snapshot_id).keys
        except DatasetError as error:
            if snapshot_id in self._led_to():
                raise
            self.left_out[snapshot_id] = getattr(error, "what", str(error))
            return None

    def _led_to(self) -> set[str]:
        """The snapshots that branches and tags stand for, and those they came from, as far as it can be read."""
        found: set[str] = set()
        waiting = [each for kind in ("heads", "tags") for each in self._folder.refs(kind).values()]
        while waiting:
            snapshot_id = waiting.pop()
            if snapshot_id not in found:
                found.add(snapshot_id)
                with suppress(DatasetError):  # nobody knows what it came from
                    waiting += self.snapshot(snapshot_id).meta.parents
        return found

    def notes(self) -> list[str]:
        """What is left out, in words."""
        return [
            f"snapshot {snapshot_id[:12]} is left out: it is damaged, and no branch or tag leads to it ({what}); "
            f"sgforge repair {self._folder.path} moves it aside"
            for snapshot_id, what in self.left_out.items()
        ]

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, snapshot_id: object) -> bool:
        return snapshot_id in self._order

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """A snapshot of the dataset, opened once."""
        found = self._snapshots.get(snapshot_id)
        if found is None:
            found = self._snapshots[snapshot_id] = Snapshot.open(self._folder.snapshot(snapshot_id))
        return found

    def find(self, keys: Sequence[bytes] | np.ndarray) -> list[StateRef | None]:
        """Where the state with each key stands; None for a key that no snapshot has."""
        wanted = as_keys(keys)
        places = self._places(wanted)
        while not self._are_there(places, wanted) or self._leaves_out(places):
            places = self._places(wanted)
        return [
            StateRef(self._order[self._owner[place]], int(self._row[place])) if place >= 0 else None
            for place in places.tolist()
        ]

    def _leaves_out(self, places: np.ndarray) -> bool:
        """Look at the snapshots of these places that were not looked at yet; whether one is left out from now on."""
        owners = {self._order[owner] for owner in np.unique(self._owner[places[places >= 0]]).tolist()}
        fresh = owners - self._sound
        self._sound |= fresh
        faults = {
            snapshot_id: fault
            for snapshot_id in (fresh - self._led_to() if fresh else ())
            if (fault := self.snapshot(snapshot_id).fault(self._folder.sealed(snapshot_id))) is not None
        }
        if faults:
            kept = [snapshot_id for snapshot_id in self._order if snapshot_id not in faults]
            self.left_out.update(faults)
            self._begin_with(SavedStates((), *_NO_STATES))
            self.add(kept)
        return bool(faults)

    def _are_there(self, places: np.ndarray, wanted: np.ndarray) -> bool:
        """Whether the states that a file said stand in these places do, by their snapshots; else it counts no more."""
        found = places >= 0
        owners, rows = self._owner[places[found]], self._row[places[found]]
        for owner in np.unique(owners[owners < self._saved]).tolist():
            here = owners == owner
            try:
                keys = self.snapshot(self._order[owner]).keys
                if not np.array_equal(keys[rows[here]], wanted[found][here]):
                    break
            except (DatasetError, IndexError):
                break
        else:
            return True
        self._start(SavedStates((), *_NO_STATES))
        return False

    def graph(self, ref: StateRef) -> SceneGraph:
        """The graph of a state."""
        return self.snapshot(ref.snapshot_id).graph(ref.row)

    def _places(self, keys: np.ndarray) -> np.ndarray:
        """Position of each key among all keys, -1 where it is unknown; the prefix finds it, all bytes decide."""
        found = np.full(len(keys), -1, np.int64)
        prefixes = prefixes_of(keys)
        position = np.searchsorted(self._prefixes, prefixes)
        open_rows = np.arange(len(keys))
        while len(open_rows):
            at = position[open_rows]
            inside = at < len(self._prefixes)
            open_rows, at = open_rows[inside], at[inside]
            same = self._prefixes[at] == prefixes[open_rows]
            open_rows, at = open_rows[same], at[same]
            equal = (self._keys[at] == keys[open_rows]).all(axis=1)
            found[open_rows[equal]] = at[equal]
            open_rows = open_rows[~equal]
            position[open_rows] += 1
        return found
