"""Hold: that a folder of a dataset is being read, so that nobody takes it away meanwhile; no byte is written for it."""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["Hold", "holding"]


class Hold:
    """A lock on a folder that many readers share, or that one process has alone while it takes the folder away.

    The system gives it back when `release` is called, when nobody has the object any more, or when the process ends,
    however it ends. Where the file system knows no such locks it holds nothing, and keeps nobody off.
    """

    def __init__(self, folder: Path, handle: int | None) -> None:
        self._folder = folder
        self._release = None if handle is None else weakref.finalize(self, os.close, handle)

    @classmethod
    def shared(cls, folder: Path) -> Hold:
        """Hold a folder for reading; waits while another takes it away. A folder that is gone is an `OSError`."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # no locks here
                fcntl.flock(handle, fcntl.LOCK_SH)
            # Taken away while this waited: what is open now is on its way into nothing.
            if os.fstat(handle).st_ino != os.stat(folder).st_ino:
                raise FileNotFoundError(folder)
        except BaseException:
            os.close(handle)
            raise
        return cls(folder, handle)

    @classmethod
    def alone(cls, folder: Path) -> Hold | None:
        """Hold a folder against all others; None if one is reading it."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # no locks here
            os.close(handle)
            return cls(folder, None)
        return cls(folder, handle)

    def release(self) -> None:
        """Let others have it."""
        if self._release is not None:
            self._release()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process needs a lock of its own.
        return _again, (self._folder,)


def _again(folder: Path) -> Hold:
    try:
        return Hold.shared(folder)
    except OSError:
        return Hold(folder, None)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold a folder for reading while this lasts; one that is not there is none of it."""
    try:
        hold = Hold.shared(folder)
    except FileNotFoundError:
        yield
        return
    try:
        yield
    finally:
        hold.release()
