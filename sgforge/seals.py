"""Seals: a small file beside another that says what its bytes are, so that a flip of any of them is found.

    NAME.seal: SIZE CRC32 CHECK      in decimal, hexadecimal, hexadecimal

CHECK is the crc32 of what stands before it: a flip in the seal is told from one in the file. While a file is being
replaced its seal has a line for either content, so that a kill at any moment leaves a file that fits.

The crc32 is that of zip and PNG (polynomial 0x04C11DB7), and not crc32c: a chunk ends with its own crc32c, and all that
ends so has one and the same crc32c, by which no sound chunk could be told from another of its size.
"""

from __future__ import annotations

import errno
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from sgforge.durable import sync_folder, whole_file, write_text
from sgforge.regular_files import MAX_NAME_BYTES, OddFileError, open_regular, read_regular

__all__ = [
    "CHANGED",
    "SUFFIX",
    "AtRest",
    "Digest",
    "break_seal",
    "digest_of",
    "read_seal",
    "seal",
    "seal_fault",
    "seal_path",
    "sealed_file",
]

SUFFIX: Final = ".seal"
CHANGED: Final = "its bytes are not those that were written"
"""What `seal_fault` says of a file that was changed."""
_LINE: Final = re.compile(r"(0|[1-9][0-9]{0,17}) ([0-9a-f]{8}) ([0-9a-f]{8})\n")
_BLOCK: Final = 2**20


@attrs.frozen
class Digest:
    """How many bytes a file has, and their crc32."""

    size: int
    crc32: int

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of bytes."""
        return cls(len(data), zlib.crc32(data))


def digest_of(path: Path) -> Digest:
    """The digest of a file, read in pieces; an `OSError` where it cannot be read or is no regular file."""
    if path.is_symlink():
        raise OddFileError(errno.ELOOP, "a link to elsewhere", str(path))
    with open_regular(path) as stream:
        size = crc = 0
        while block := stream.read(_BLOCK):
            size += len(block)
            crc = zlib.crc32(block, crc)
    return Digest(size, crc)


def seal_path(path: Path) -> Path:
    """Where the seal of a file lies."""
    return path.with_name(path.name + SUFFIX)


def seal(path: Path, *digests: Digest, sealed: Path | None = None) -> None:
    """Say what the bytes of a file are, or may be; durable when this returns. Without digests they are read.

    `sealed`: the path beside which the seal lies, here as in the others, where that is not the file's own.
    """
    digests = digests or (digest_of(path),)
    target = seal_path(sealed or path)
    target.parent.mkdir(exist_ok=True)
    write_text(target, "".join(map(_line, dict.fromkeys(digests))))


def break_seal(path: Path) -> None:
    """Say no more what the bytes of a file are, before they change; durable when this returns."""
    try:
        seal_path(path).unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)


@contextmanager
def sealed_file(path: Path) -> Iterator[BinaryIO]:
    """`whole_file`, with its seal: a kill at any moment leaves the file of before or the new one, which fits."""
    with whole_file(path) as stream:
        yield stream
        stream.flush()
        new = digest_of(Path(stream.name))
        old = [digest_of(path)] if path.is_file() else []
        seal(path, *old, new)
    if old:
        seal(path, new)


def read_seal(path: Path) -> tuple[Digest, ...]:
    """What the seal of a file says; a damaged one is a `ValueError`, none a `FileNotFoundError`."""
    text = read_regular(seal_path(path), MAX_NAME_BYTES).decode("ascii", errors="replace")
    found = tuple(Digest(int(size), int(crc, 16)) for size, crc, _ in _LINE.findall(text))
    if not found or "".join(map(_line, found)) != text:
        raise ValueError("it is not what was written")
    return found


def seal_fault(path: Path, sealed: Path | None = None) -> str | None:
    """What is wrong with a file by its seal, which must be there; None for a sound one."""
    sealed = sealed or path
    try:
        told = read_seal(sealed)
    except FileNotFoundError:
        return f"{seal_path(sealed).name} is gone, which says what is in it"
    except (OSError, ValueError) as error:
        return f"{seal_path(sealed).name}, which says what is in it, is damaged: {error}"
    try:
        found = digest_of(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None if found in told else CHANGED


class AtRest:
    """The seal of a file that SQLite writes: taken away by whoever opens it, set by the last one who closes it.

    A file that was changed while nobody had it open keeps the seal that says so (`is_changed`), until `trust`. `most`:
    of how many bytes it is read for that on opening, where that is not too much; of a larger one only `sgforge verify`
    finds a change, while nobody has written to it since.
    """

    def __init__(self, path: Path, sealed: Path | None = None, most: int | None = None) -> None:
        self._path = path
        self._sealed = sealed or path
        self._stamp = self._look()
        try:
            self._told = read_seal(self._sealed)
        except FileNotFoundError:
            self._told = ()
            self.is_changed = False
        except (OSError, ValueError):
            self._told = ()
            self.is_changed = self._stamp is not None
        else:
            is_read = self._stamp is not None and (most is None or self._stamp[0] <= most)
            self.is_changed = is_read and not self._is_told()
        # Before the first change; one that does not fit goes only once what was changed is no more taken for kept.
        if not self.is_changed:
            break_seal(self._sealed)

    def _is_told(self) -> bool:
        """Whether the file is what its seal says; what cannot be read as a file is told by whoever opens it next."""
        try:
            return digest_of(self._path) in self._told
        except OSError:
            return False

    def trust(self) -> None:
        """All that is in the file was looked at: from now on it is what was kept."""
        break_seal(self._sealed)
        self.is_changed = False
        self._told = ()

    def come(self) -> None:
        """Nobody has the file open any more; a log that is left belongs to another process that has."""
        if self.is_changed or self._path.with_name(f"{self._path.name}-wal").exists():
            return
        is_same = bool(self._told) and self._look() == self._stamp
        with suppress(OSError):  # on a full disk it goes without, as after a kill
            seal(self._path, *(self._told if is_same else ()), sealed=self._sealed)

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def _line(digest: Digest) -> str:
    told = f"{digest.size} {digest.crc32:08x}"
    return f"{told} {zlib.crc32(told.encode()):08x}\n"
