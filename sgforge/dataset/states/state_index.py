"""StateIndex: in which snapshot the state of an image with a given key stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.records import StateRef
from sgforge.dataset.snapshot import Snapshot
from sgforge.errors import DatasetError
from sgforge.graph import SceneGraph
from sgforge.statekey import KEY_BYTES

__all__ = ["StateIndex", "as_keys"]


def as_keys(keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
    """Keys as (N, KEY_BYTES) uint8; keys of another length are a `DatasetError`."""
    joined = keys if isinstance(keys, np.ndarray) else np.frombuffer(b"".join(keys), np.uint8)
    if joined.size != len(keys) * KEY_BYTES:
        raise DatasetError(f"{len(keys)} state keys hold {joined.size} bytes; a state key has {KEY_BYTES}")
    return joined.astype(np.uint8, copy=False).reshape(-1, KEY_BYTES)


class StateIndex:
    """All states of all snapshots of a dataset, found by key; snapshots published later are added with `add`."""

    def __init__(self, folder: DatasetFolder) -> None:
        self._folder = folder
        self._snapshots: dict[str, Snapshot] = {}
        self._order: list[str] = []
        # In the order of the keys' prefixes.
        self._keys = np.zeros((0, KEY_BYTES), np.uint8)
        self._prefixes = np.zeros(0, np.uint64)
        self._owner = np.zeros(0, np.int32)
        self._row = np.zeros(0, np.int32)
        self.add(self._folder.snapshot_ids())

    def add(self, snapshot_ids: Iterable[str]) -> None:
        """Take in the states of more snapshots; those that are known already are skipped."""
        fresh = [snapshot_id for snapshot_id in snapshot_ids if snapshot_id not in self._order]
        if not fresh:
            return
        parts = [self.snapshot(snapshot_id).keys for snapshot_id in fresh]
        first = len(self._order)
        self._order.extend(fresh)
        sizes = [len(part) for part in parts]
        keys = np.concatenate([self._keys, *parts])
        owner = np.concatenate([self._owner, np.repeat(np.arange(first, first + len(fresh), dtype=np.int32), sizes)])
        row = np.concatenate([self._row, *(np.arange(size, dtype=np.int32) for size in sizes)])
        order = np.argsort(_prefixes(keys), kind="stable")
        keys = keys[order]
        # Snapshots share most states with others; the first place of each is enough.
        is_new = np.ones(len(keys), bool)
        is_new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        self._keys, self._owner, self._row = keys[is_new], owner[order][is_new], row[order][is_new]
        self._prefixes = _prefixes(self._keys)

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
        return [
            StateRef(self._order[self._owner[place]], int(self._row[place])) if place >= 0 else None
            for place in self._places(as_keys(keys)).tolist()
        ]

    def graph(self, ref: StateRef) -> SceneGraph:
        """The graph of a state."""
        return self.snapshot(ref.snapshot_id).graph(ref.row)

    def _places(self, keys: np.ndarray) -> np.ndarray:
        """Position of each key among all keys, -1 where it is unknown; the prefix finds it, all bytes decide."""
        found = np.full(len(keys), -1, np.int64)
        prefixes = _prefixes(keys)
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


def _prefixes(keys: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(keys[:, :8]).view("<u8").reshape(-1).astype(np.uint64)
