"""The names of the files in a folder: whether one has come, gone or been renamed, and which lie there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["file_names", "names_digest"]


def file_names(folder: Path) -> Iterator[str]:
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
    for name in sorted(map(os.fsencode, file_names(folder))):
        total.update(name + b"\0")
    return total.hexdigest()
