"""Making a damaged file whole again: from a sound copy that lies elsewhere, or from its digest.

A crc32 tells not only that one byte of a file was changed but which one, and to what: each of the changes of one byte
gives another difference of checksums. So a small file with one bad byte is put right without a copy.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sgforge.durable import make_folder, sync_folder
from sgforge.seals import Digest, digest_of

__all__ = ["place", "put_right", "sound_copy"]

_MOST: Final = 2**22
"""Bytes of a file that is put right byte by byte: some seconds."""
_POLYNOMIAL: Final = 0xEDB88320


def sound_copy(candidates: Iterable[Path], told: Digest) -> Path | None:
    """The first of these files that has this digest."""
    for path in candidates:
        try:
            if path.stat().st_size == told.size and digest_of(path) == told:
                return path
        except OSError:
            continue
    return None


def put_right(data: bytes, told: Digest) -> bytes | None:
    """The bytes that differ from `data` in one byte and have this digest; None if there are none, or not only one."""
    if len(data) != told.size or len(data) > _MOST:
        return None
    difference = Digest.of(data).crc32 ^ told.crc32
    found: list[tuple[int, int]] = []
    for place in range(len(data) - 1, -1, -1):
        # What the difference was before this byte went through: a change of that byte alone leaves 8 bits of it.
        difference = _before(difference)
        if difference < 256:
            found.append((place, difference))
    if len(found) != 1 or not found[0][1]:
        return None
    mended = bytearray(data)
    mended[found[0][0]] ^= found[0][1]
    return bytes(mended) if Digest.of(bytes(mended)) == told else None


def _table() -> tuple[list[int], list[int]]:
    """The table of crc32, and which of its entries has which high byte."""
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    by_high = [0] * 256
    for index, value in enumerate(table):
        by_high[value >> 24] = index
    return table, by_high


_TABLE, _BY_HIGH = _table()


def _before(register: int) -> int:
    """The register from which one byte of zeros makes `register`."""
    index = _BY_HIGH[register >> 24]
    return ((register ^ _TABLE[index]) << 8 & 0xFFFFFFFF) | index


def place(source: Path | bytes, target: Path, scratch: Path) -> None:
    """Let bytes, or a link to a file, stand at `target` in place of what is there, durably and read-only.

    `scratch`: a folder of the same file system, where what a kill leaves half-written is found and removed.
    """
    make_folder(scratch)
    make_folder(target.parent)
    beside = scratch / secrets.token_hex(8)
    if isinstance(source, Path):
        try:
            os.link(source, beside)
        except OSError:  # a file system without links
            source = source.read_bytes()
    if not isinstance(source, Path):
        with beside.open("xb") as stream:
            stream.write(source)
            os.fchmod(stream.fileno(), 0o444)
            stream.flush()
            os.fsync(stream.fileno())
    os.replace(beside, target)
    sync_folder(target.parent)
