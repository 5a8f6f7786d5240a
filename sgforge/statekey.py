"""State keys: the 16 bytes that name the state of one image, in the engine, the journal and every snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, overload

__all__ = ["KEY_BYTES", "StateKeys", "state_key"]

KEY_BYTES: Final = 16
"""Bytes of a state key: sha256, truncated.

They are stored once per image and snapshot and do not compress, so their length decides what a small step costs on
disk. 16 are enough: 146,000 images after many hundred steps are fewer than 2^28 keys, and the chance that any two of
them agree is below 2^56 / 2^129 = 2^-73. A collision made on purpose costs 2^64 hashes and mixes up two images in the
dataset of the one who made it.
"""


def state_key(*parts: bytes) -> bytes:
    """The key of these parts, hashed one after the other; the caller sees to it that their borders cannot shift."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.digest()[:KEY_BYTES]


class StateKeys(Sequence[bytes]):
    """Keys of many images in one buffer, a third of what they take as objects of their own."""

    __slots__ = ("_joined",)

    def __init__(self, keys: Iterable[bytes] | StateKeys = ()) -> None:
        self._joined = bytearray()
        if isinstance(keys, StateKeys):
            self._joined += keys._joined
            return
        for key in keys:
            self.append(key)

    @classmethod
    def of_bytes(cls, joined: bytes) -> StateKeys:
        """Of keys that stand one behind the other."""
        found = cls()
        found._joined += joined
        return found

    def append(self, key: bytes) -> None:
        """One more; it has KEY_BYTES bytes."""
        self._joined += key

    def joined(self) -> bytearray:
        """All of them one behind the other: the buffer itself, to be read."""
        return self._joined

    def __len__(self) -> int:
        return len(self._joined) // KEY_BYTES

    @overload
    def __getitem__(self, row: int) -> bytes: ...

    @overload
    def __getitem__(self, row: slice) -> list[bytes]: ...

    def __getitem__(self, row: int | slice) -> bytes | list[bytes]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        # One that is there is found without a count of all: a run asks several times for that of each image.
        if row >= 0 and (key := self._joined[row * KEY_BYTES : (row + 1) * KEY_BYTES]):
            return bytes(key)
        at = range(len(self))[row] * KEY_BYTES
        return bytes(self._joined[at : at + KEY_BYTES])

    def __setitem__(self, row: int, key: bytes) -> None:
        at = range(len(self))[row] * KEY_BYTES
        self._joined[at : at + KEY_BYTES] = key

    def __iter__(self) -> Iterator[bytes]:
        joined = bytes(self._joined)
        return (joined[at : at + KEY_BYTES] for at in range(0, len(joined), KEY_BYTES))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StateKeys):
            return self._joined == other._joined
        return list(self) == other

    __hash__ = None  # type: ignore[assignment]  # it changes
