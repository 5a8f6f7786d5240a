"""The file `states.index`: the states of many snapshots in one, so that a start need not read the keys of each.

    {"format": "sgforge-states", "version": 1, "snapshots": [[ID, SIZE, MTIME_NS], ...], "states": N}\\n
    N keys, sorted by their first 8 bytes, N owners (int32, into the snapshots), N rows (int32), crc32c of all before

Nothing depends on it: it is written anew from the snapshots, and is not believed where one of them is gone or is not
the one that it was, by size and time of its zarr.json, nor where a state is not what it says, by the snapshot's keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import google_crc32c
import numpy as np

from sgforge.dataset.folder import DatasetFolder
from sgforge.durable import whole_file
from sgforge.errors import DatasetError
from sgforge.regular_files import read_regular
from sgforge.statekey import KEY_BYTES

__all__ = ["SavedStates", "index_fault", "prefixes_of", "read_index", "write_index"]

_FORMAT: Final = "sgforge-states"
_VERSION: Final = 1
_CRC_BYTES: Final = 4


@attrs.frozen(eq=False)
class SavedStates:
    """Snapshots by id; of N states the keys (N, KEY_BYTES), in the order of their prefixes, owner and row (N,)."""

    snapshots: Sequence[str]
    keys: np.ndarray
    owner: np.ndarray
    row: np.ndarray


def prefixes_of(keys: np.ndarray) -> np.ndarray:
    """(N,) uint64: the first 8 bytes of each key, as a number."""
    return np.ascontiguousarray(keys[:, :8]).view("<u8").reshape(-1).astype(np.uint64)


def write_index(folder: DatasetFolder, states: SavedStates) -> None:
    """Replace the file; the lock must be held. An `OSError` is the caller's: nothing is lost without it."""
    snapshots = [[each, *_stamp(folder.snapshot(each))] for each in states.snapshots]
    told = {"format": _FORMAT, "version": _VERSION, "snapshots": snapshots, "states": len(states.keys)}
    parts = [
        json.dumps(told).encode() + b"\n",
        states.keys.tobytes(),
        states.owner.astype("<i4").tobytes(),
        states.row.astype("<i4").tobytes(),
    ]
    crc = 0
    with whole_file(folder.states_index) as stream:
        for part in parts:
            crc = google_crc32c.extend(crc, part)
            stream.write(part)
        stream.write(crc.to_bytes(_CRC_BYTES, "little"))


def read_index(folder: DatasetFolder) -> SavedStates | None:
    """What the file says; None where there is none, it is damaged, or a snapshot is not the one that it was."""
    try:
        stamps, states = _parsed(read_regular(folder.states_index))
        is_current = all(
            _stamp(folder.snapshot(each)) == stamp for each, stamp in zip(states.snapshots, stamps, strict=True)
        )
    except (OSError, ValueError, LookupError, TypeError, OverflowError, DatasetError):
        return None
    return states if is_current else None


def index_fault(path: Path) -> str | None:
    """What is wrong with the bytes of the file, if anything; that it is older than some snapshots is no fault."""
    try:
        _parsed(read_regular(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        return f"{error}: nothing is lost, the next run writes it anew from the snapshots"
    return None


def _stamp(snapshot: Path) -> tuple[int, int]:
    state = (snapshot / "zarr.json").stat()
    return state.st_size, state.st_mtime_ns


def _parsed(data: bytes) -> tuple[list[tuple[int, int]], SavedStates]:
    body, crc = memoryview(data)[:-_CRC_BYTES], data[-_CRC_BYTES:]
    if google_crc32c.value(bytes(body)).to_bytes(_CRC_BYTES, "little") != crc:
        raise ValueError("its bytes are not those that were written")
    first = data.index(b"\n") + 1
    told = json.loads(data[:first])
    if (told["format"], told["version"]) != (_FORMAT, _VERSION):
        raise ValueError("it is no index of states that this sgforge knows")
    snapshots, count = told["snapshots"], told["states"]
    if type(count) is not int or len(body) - first != count * (KEY_BYTES + 8) or count < 0:
        raise ValueError("it has not the states that it names")
    keys = np.frombuffer(data, np.uint8, count * KEY_BYTES, first).reshape(-1, KEY_BYTES)
    owner = np.frombuffer(data, "<i4", count, first + keys.nbytes)
    row = np.frombuffer(data, "<i4", count, first + keys.nbytes + owner.nbytes)
    prefixes = prefixes_of(keys)
    if count and (owner.min() < 0 or owner.max() >= len(snapshots) or row.min() < 0):
        raise ValueError("it names rows that cannot be")
    if (prefixes[1:] < prefixes[:-1]).any():
        raise ValueError("its states are not in order")
    stamps = [(int(size), int(changed)) for _, size, changed in snapshots]
    return stamps, SavedStates([str(each) for each, _, _ in snapshots], keys, owner, row)
