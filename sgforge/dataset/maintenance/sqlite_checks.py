"""Checking the SQLite files of a dataset: by their seals where they are at rest, else by all that SQLite can tell.

A log that a killed process left has checksums of its own, and SQLite takes a frame whose checksum is wrong for the end
of the log: answers behind it would be gone without a word. So the frames are looked at here.
"""

from __future__ import annotations

import fcntl
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from sgforge.dataset.states.known_states import connect_to_read
from sgforge.seals import seal_fault, seal_path

__all__ = ["header_faults", "is_open_elsewhere", "log_faults", "sqlite_faults"]

_LOG_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = (0x377F0682, 0x377F0683)
_VERSION: Final = 3007000


def sqlite_faults(path: Path, lock: Path | None, sealed: Path | None = None) -> Iterator[str]:
    """What is wrong with a SQLite file that may be there. `lock`: the file that whoever writes to it has locked; None
    where the caller knows that nobody does.

    `sealed`: beside which its seal lies, if that is not the file itself.
    """
    mark = seal_path(sealed or path)
    if not path.exists():
        if mark.exists():
            yield "it is gone"
        return
    try:
        with closing(connect_to_read(path)) as base:
            found = [text for (text,) in base.execute("PRAGMA integrity_check") if text != "ok"]
            is_empty = not found and base.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
    except sqlite3.Error as error:
        found, is_empty = [str(error)], False
    if not is_empty:
        yield from header_faults(path)
    if not is_empty and not is_open_elsewhere(lock):
        if _log(path).exists():
            yield from log_faults(_log(path))
        # Looked at twice: a writer may have come and gone just now.
        elif mark.exists() and seal_fault(path, sealed) and (fault := seal_fault(path, sealed)) and mark.exists():
            yield from () if is_open_elsewhere(lock) else (fault,)
    yield from found


_HEAD: Final = struct.Struct(">16sHBBBBBBIIIIIIIIIIII20sII")
_MAGIC_TEXT: Final = b"SQLite format 3\0"


def header_faults(path: Path) -> Iterator[str]:
    """What SQLite does not look at in the head of a file, and never writes otherwise there (file format, 1.3)."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(_MAGIC_TEXT):
        return  # told by SQLite
    _, page, write, read, reserved, most, least, leaf, counter, *rest = _HEAD.unpack(head)
    _, _, _, _, schema, cache, _, encoding, user, incremental, application, nothing, valid, version = rest
    fixed = (write, reserved, most, least, leaf, cache, user, incremental, application)
    # Neither is set while all that was ever written lies in the log, as a first run leaves it that is killed.
    is_begun = (schema, encoding) == (4, 1) or ((schema, encoding) == (0, 0) and _log(path).exists())
    is_known = page and page & (page - 1) == 0 and is_begun and 3_000_000 < version < 4_000_000
    if fixed != (read, 0, 64, 32, 32, 0, 0, 0, 0) or any(nothing) or counter != valid or not is_known:
        yield "its head is damaged"


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def is_open_elsewhere(path: Path | None) -> bool:
    """Whether some process holds a lock on a file: it writes, and what it writes is not at rest."""
    if path is None:
        return False
    with suppress(OSError), path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def log_faults(path: Path) -> Iterator[str]:
    """Frames of a write-ahead log that SQLite would take for its end, and that are none (file format, 4.1 and 4.2)."""
    data = path.read_bytes()
    if not data.strip(b"\0"):
        return
    if len(data) < _LOG_HEADER.size:
        yield "its log is cut short"
        return
    magic, version, page, _, *salts, first, second = _LOG_HEADER.unpack_from(data)
    order = ">" if magic == _MAGIC[1] else "<"
    sums = _sums(order, data[:24], (0, 0))
    if magic not in _MAGIC or version != _VERSION or sums != (first, second):
        yield "the head of its log is damaged: answers in it are lost"
        return
    step = _FRAME.size + page
    frames = [(start, _FRAME.unpack_from(data, start)) for start in range(_LOG_HEADER.size, len(data) - step + 1, step)]
    # Whoever begins the log anew gives it other salts, both of them: behind its frames stand those of before.
    own = [[one == other for one, other in zip(frame[2:4], salts, strict=True)] for _, frame in frames]
    for number, (start, (*_, first, second)) in enumerate(frames):
        if not any(own[number]):
            return
        sums = _sums(order, data[start : start + 8] + data[start + 24 : start + step], sums)
        if not all(own[number]) or sums != (first, second):
            # The last one before those may be half of a write that a kill ended, and that nobody was told of.
            if number + 1 == len(frames) or any(own[number + 1]):
                yield f"frame {number} of its log is damaged: answers in it, and in those behind it, are lost"
            return


def _sums(order: str, data: bytes, before: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum of a log, carried on."""
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    first, second = before
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second
