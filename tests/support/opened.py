"""What this process holds open, to see that an error leaves nothing behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

__all__ = ["open_below", "threads_named"]


def open_below(folder: Path) -> list[str]:
    """Names of open files below a folder."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(handle)
        except OSError:  # the one that lists this folder
            continue
        if target.startswith(f"{folder.resolve()}/"):
            found.append(Path(target.removesuffix(" (deleted)")).name)
    return sorted(found)


def threads_named(start: str) -> list[str]:
    """Running threads whose name begins so."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(start))
