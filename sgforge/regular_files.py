"""Opening files that a stranger may have laid: regular ones only, small ones up to a limit.

A pipe would keep its reader waiting for ever, a device never ends: neither is opened to be read, whatever a name says.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, Final

__all__ = [
    "MAX_META_BYTES",
    "MAX_NAME_BYTES",
    "OddFileError",
    "given_only",
    "open_regular",
    "read_json",
    "read_regular",
    "regular_only",
]

MAX_META_BYTES: Final = 2**26
"""Bytes that a JSON file of a dataset has at most: what a version says of itself, a checkpoint's description."""

MAX_NAME_BYTES: Final = 256
"""Bytes that a file has at most which holds one name, id or digest: those of branches, tags and sidecars."""
_LARGE: Final = 2**30
_HOLLOW: Final = 1000
_MOST_EXTENTS: Final = 1000
_AT_ONCE: Final = os.O_NONBLOCK | os.O_NOCTTY


class OddFileError(OSError):
    """A file that is none of those that are laid here: no regular one, or far too large."""


def regular_only(path: str, flags: int) -> int:
    """An `opener` for `open`: what is there and no regular file is an `OddFileError` at once, and is not waited for."""
    try:
        handle = os.open(path, flags | _AT_ONCE, 0o666)
    except OSError as error:
        if error.errno != errno.ENXIO:  # of a socket
            raise
        raise _no_regular(path) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _no_regular(path)
        if found.st_size > _LARGE and _is_hollow(handle, found.st_size):
            raise OddFileError(errno.EFBIG, f"a file of {found.st_size:,} bytes, nearly all of them holes", path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_hollow(handle: int, size: int) -> bool:
    """Whether nearly nothing of a file is there: reading a terabyte of holes would take hours and tell nothing."""
    at = held = 0
    try:
        for _ in range(_MOST_EXTENTS):
            begin = os.lseek(handle, at, os.SEEK_DATA)
            at = os.lseek(handle, begin, os.SEEK_HOLE)
            held += at - begin
            if held * _HOLLOW > size:
                return False
    except OSError as error:
        return error.errno == errno.ENXIO  # no data follows; others do not tell
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    return False


def given_only(path: str, flags: int) -> int:
    """`regular_only` for a path that a person names: what the shell opened, as `<(command)`, is read whatever it is."""
    if path == "/dev/stdin" or path.startswith(("/dev/fd/", "/proc/self/fd/")):
        return os.open(path, flags)
    return regular_only(path, flags)


def open_regular(path: Path | str) -> BinaryIO:
    """A stream of the bytes of a regular file; see `regular_only`."""
    return open(path, "rb", opener=regular_only)


def _no_regular(path: str) -> OddFileError:
    return OddFileError(errno.EINVAL, "no regular file (a pipe, a device or a folder)", os.fspath(path))


def read_regular(path: Path | str, limit: int | None = None) -> bytes:
    """The bytes of a regular file; one of more than `limit` bytes is an `OddFileError` and is not read."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if limit is None:
            return stream.read()
        data = b"" if size > limit else stream.read(limit + 1)
        if size > limit or len(data) > limit:
            raise OddFileError(errno.EFBIG, f"more than the {limit:,} bytes that it can have", str(path))
        return data


def read_json(path: Path | str, limit: int) -> Any:
    """The value of a UTF-8 JSON file; what is no JSON, or nested too deeply to be read, is a `ValueError`."""
    try:
        return json.loads(read_regular(path, limit).decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
