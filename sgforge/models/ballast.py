"""Ballast: disk space held back for answers that are under way when the disk fills, because they are paid for."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from sgforge.errors import DatasetError

__all__ = ["Ballast"]

_BYTES: Final = 8_000_000
"""Several hundred answers with their log; no more are in flight at one time."""


class Ballast:
    """A file of nothing beside the responses file, thrown away when the disk is full and when the file is closed.

    Processes that share a responses file share its ballast.
    """

    def __init__(self, responses: Path) -> None:
        self._responses = responses
        self._path = responses.with_name(responses.name + "-ballast")

    def take(self) -> None:
        """Hold the space; a disk without it is a `DatasetError`, before anything is bought."""
        try:
            with self._path.open("ab") as stream:
                _fill(stream.fileno())
        except OSError as error:
            self.drop()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DatasetError(f"responses file {self._responses}: {error.strerror}") from error
            raise DatasetError(
                f"responses file {self._responses}: the disk is full: {_BYTES // 1_000_000} MB must be free, so that "
                "answers that are paid for can be kept; free some space and run again"
            ) from error

    def drop(self) -> None:
        """Give the space back."""
        self._path.unlink(missing_ok=True)


def _fill(handle: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, _BYTES)
        return
    missing = _BYTES - os.fstat(handle).st_size
    if missing > 0:
        os.write(handle, bytes(missing))
