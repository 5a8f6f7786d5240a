"""What lies in a folder: whether a file has come, gone or been renamed, or been written to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from sgforge.digests import is_settled

__all__ = ["names_digest", "stamps_digest"]


def _file_names(folder: Path) -> Iterator[str]:
    """The paths in `folder` of all files under it, with /, in no order; links are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link back to where it came from
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        prefix = "" if place == str(folder) else f"{os.path.relpath(place, folder)}/".replace(os.sep, "/")
        yield from (prefix + name for name in files)


def names_digest(folder: Path) -> str:
    """Hex sha256 over the names of all files under a folder."""
    total = hashlib.sha256()
    for name in sorted(map(os.fsencode, _file_names(folder))):
        total.update(name + b"\0")
    return total.hexdigest()


def stamps_digest(folder: Path) -> str | None:
    """Hex sha256 over names, sizes and times of change of all files under a folder.

    None if one was changed a moment ago: it may be changed again and have the same size and time.
    """
    total = hashlib.sha256()
    for name in sorted(map(os.fsencode, _file_names(folder))):
        try:
            status = os.stat(os.path.join(os.fsencode(folder), name))
        except OSError:  # a link that leads nowhere
            total.update(name + b"\0absent\0")
            continue
        if not is_settled(status.st_mtime_ns):
            return None
        total.update(name + b"\0%d %d\0" % (status.st_size, status.st_mtime_ns))
    return total.hexdigest()
