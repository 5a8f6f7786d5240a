"""Temporary files in memory where there is room: tests publish a lot, and publishing waits for the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["keep_temporary_files_in_memory"]

_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 2_000_000_000
"""Bytes that must be free there; a container may have as little as 64 MB."""


def keep_temporary_files_in_memory() -> None:
    """From here on, in this process and in those that it starts; a TMPDIR that is set stays."""
    if "TMPDIR" not in os.environ and _serves():
        tempfile.tempdir = os.environ["TMPDIR"] = str(_MEMORY)


def _serves() -> bool:
    """Whether it is there, has room, and lets the scripts of new environments be run."""
    if not os.access(_MEMORY, os.W_OK) or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(_MEMORY).free > _ROOM
