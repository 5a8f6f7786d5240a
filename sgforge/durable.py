"""Files that are there whole or not at all, also after a crash or a power cut."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "clear_leftovers",
    "held",
    "json_text",
    "make_folder",
    "output_file",
    "share_as_usual",
    "sync_file",
    "sync_folder",
    "temporary_name",
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
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as stream, held(temporary):
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
    target = path.resolve() if path.is_symlink() else path
    clear_leftovers(target)
    with whole_file(target) as stream:
        yield stream


def temporary_name(path: Path) -> Path:
    """Where what is to stand at `path` is made: beside it, under a name that no other has."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def held(temporary: Path) -> Iterator[None]:
    """Keep `clear_leftovers` of others from what is being made; the system lets go of it when the process ends."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # where files cannot be locked none is cleared either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def clear_leftovers(path: Path) -> None:
    """Remove what killed processes left of what was to stand at `path`: files and folders that nobody holds."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    try:
        found = [entry for entry in path.parent.iterdir() if name.fullmatch(entry.name)]
    except OSError:  # told where it is written to
        return
    for leftover in found:
        with suppress(OSError):  # somebody holds it, or has just finished it
            _clear(leftover)


def _clear(leftover: Path) -> None:
    handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink()
    finally:
        os.close(handle)


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


def share_as_usual(path: Path) -> None:
    """Give a file that a library wrote for its owner alone (safetensors does) the mode of any new file there."""
    usual = temporary_name(path)
    try:
        usual.touch()
        path.chmod(usual.stat().st_mode & 0o777)
    finally:
        usual.unlink(missing_ok=True)


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
