"""State keys: the 16 bytes that name the state of one image, in the engine, the journal and every snapshot."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["KEY_BYTES", "state_key"]

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
