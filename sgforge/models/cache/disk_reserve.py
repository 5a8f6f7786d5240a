"""Ballast: disk space held back for answers that are under way when the disk fills, because they are paid for."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from sgforge.errors import DatasetError

__all__ = ["Ballast"]

_BYTES: Final = 8_000_000
"""Several hundred answers with their log; no more are in flight at one time."""


class Ballast:
    """A file of nothing beside the responses file, shared by all who have that file open, in whatever process.

    Each of them holds a shared lock on it, which the kernel takes back from a process that is killed; who leaves and
    finds no other lock removes the file. When the disk is full it is emptied, for all of them.
    """

    def __init__(self, responses: Path) -> None:
        self._responses = responses
        self._path = responses.with_name(responses.name + "-ballast")
        self._handle: int | None = None

    def take(self) -> None:
        """Hold the space; a disk without it is a `DatasetError`, before anything is bought."""
        try:
            self._handle = self._open()
            _fill(self._handle)
        except OSError as error:
            self.release()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DatasetError(f"responses file {self._responses}: {error.strerror}") from error
            raise DatasetError(
                f"responses file {self._responses}: the disk is full: {_BYTES // 1_000_000} MB must be free, so that "
                "answers that are paid for can be kept; free some space and run again"
            ) from error

    def spend(self) -> None:
        """Give the space to what is being written now."""
        # Emptied, not removed: a file that others hold open would keep its space, and they their lock on nothing.
        if self._handle is not None:
            os.ftruncate(self._handle, 0)

    def release(self) -> None:
        """Need it no more; the last one to do so removes it."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            # Asking for more than a shared lock gives up the shared one first. So of two that leave at the same moment
            # the one who asks last finds no other, and the file cannot stay behind.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)

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


def _fill(handle: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, _BYTES)
        return
    missing = _BYTES - os.fstat(handle).st_size
    if missing > 0:
        os.pwrite(handle, bytes(missing), _BYTES - missing)
