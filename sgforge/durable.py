"""Files that are there whole or not at all, also after a crash or a power cut."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "json_text",
    "make_folder",
    "output_file",
    "sync_file",
    "sync_folder",
    "whole_file",
    "write_json",
    "write_text",
]


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes stand at `path`, durable, when the block has ended; after an error nothing is changed there.

    What stood at `path`, a link too, is replaced; a folder is not. An `OSError` is the caller's to explain.
    """
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """`whole_file` for a path that a person names: links are followed, and a pipe or a device is written to as it is.

    Replacing /dev/stdout or /dev/null by a file would take it away from every program on the machine.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            yield stream
        return
    with whole_file(path.resolve() if path.is_symlink() else path) as stream:
        yield stream


def write_text(path: Path, text: str) -> None:
    """Replace a small UTF-8 file; when this returns, it survives a power cut."""
    with whole_file(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace a small JSON file, as `write_text` does; keys are sorted."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """A value as the JSON of small files; keys are sorted."""
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are not there; when this returns, their names survive a power cut."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path.parent == path:
            break
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        # A folder's own fsync keeps what is in it; its name is kept by that of the folder above.
        sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Make the contents of a file durable."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
