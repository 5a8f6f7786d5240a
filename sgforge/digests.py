"""sha256 over files and folders, remembered while a file stays as it is: weights are large and asked for often."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

from sgforge.regular_files import regular_only

__all__ = ["file_sha256", "folder_sha256", "is_settled"]

_SETTLED_NS: Final = 2_000_000_000
"""A file changed less than this ago is always read: clocks of file systems tick, and it may change again unseen."""


def is_settled(mtime_ns: int) -> bool:
    """Whether a file that was changed then (nanoseconds) can be told by size and time from what it may become."""
    return time.time_ns() - mtime_ns >= _SETTLED_NS


def file_sha256(path: Path) -> bytes:
    """The sha256 of a file's content, 32 bytes; OSError if it cannot be read."""
    stamp = path.stat()
    if not is_settled(stamp.st_mtime_ns):
        return _read(path)
    return _remembered(path, stamp.st_dev, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns, stamp.st_ctime_ns)


def folder_sha256(folder: Path) -> str:
    """Hex sha256 over the names and contents of all files under a folder, in sorted order."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0")
        total.update(file_sha256(file))
    return total.hexdigest()


@lru_cache(maxsize=4096)
def _remembered(path: Path, *stamp: int) -> bytes:
    return _read(path)


def _read(path: Path) -> bytes:
    with open(path, "rb", opener=regular_only) as stream:
        return hashlib.file_digest(stream, "sha256").digest()
