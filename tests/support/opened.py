"""What this process holds open, to see that an error leaves nothing behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["open_below", "started_threads", "threads_named"]


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


def started_threads() -> Callable[[str], list[str]]:
    """From now on: names of running threads that begin so, without those that ran before, which are of other tests."""
    before = set(threading.enumerate())

    def started(start: str) -> list[str]:
        return sorted(thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith(start))

    return started
