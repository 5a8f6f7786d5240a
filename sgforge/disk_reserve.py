"""DiskReserve: disk space held back for what is under way when the disk fills."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["DiskReserve"]


class DiskReserve:
    """A file of `size` bytes of nothing beside `path`, shared by all who have that one open, in whatever process.

    Each of them holds a shared lock on it, which the kernel takes back from a process that is killed; who leaves and
    finds no other lock removes the file. When the disk is full it is emptied, for all of them.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path.with_name(path.name + "-ballast")
        self._size = size
        self._handle: int | None = None

    def take(self) -> None:
        """Hold the space; an `OSError` where it is not there, which `why_not` explains."""
        try:
            self._handle = self._open()
            _fill(self._handle, self._size)
        except OSError:
            self.release()
            raise

    def why_not(self, error: OSError) -> str:
        """Why the space could not be held, and what to do."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return error.strerror or str(error)
        return (
            f"the disk is full: {self._size / 1e6:g} MB must be free, so that what is under way can be kept; "
            "free some space and run again"
        )

    def spend(self) -> None:
        """Give the space to what is being written now."""
        # Emptied, not removed: a file that others hold open would keep its space, and they their lock on nothing.
        if self._handle is not None:
            os.ftruncate(self._handle, 0)

    def release(self, alone: Callable[[], None] | None = None) -> None:
        """Need it no more; the last one to do so removes it. `alone`: what the last one does before others can come."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            # Asking for more than a shared lock gives up the shared one first. So of two that leave at the same moment
            # the one who asks last finds no other, and the file cannot stay behind.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if alone is not None:
                alone()
            self._path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)

    def discard(self) -> None:
        """Remove what a killed process left behind; only for a file that one process at a time has open."""
        self._path.unlink(missing_ok=True)

    def _open(self) -> int:
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_SH)
                if self._is_there(handle):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            # The last holder removed it between our opening it and our lock: what we have is no file any more.
            os.close(handle)

    def _is_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            return False


def _fill(handle: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
        return
    missing = size - os.fstat(handle).st_size
    if missing > 0:
        os.pwrite(handle, bytes(missing), size - missing)
