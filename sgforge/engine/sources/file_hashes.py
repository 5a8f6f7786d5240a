"""What is known of the bytes of picture files: hashes by what tells whether a file has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from sgforge.dataset import Journal, KnownWork

__all__ = ["FileHashes", "FileStamp", "cached_hashes", "known_hashes"]


@attrs.frozen
class FileStamp:
    """What tells whether a file is the one that was hashed: its uri, size in bytes and time of change."""

    uri: str
    size: int
    mtime_ns: int


@attrs.frozen
class FileHashes:
    """The cache of file hashes: `find` gives what is known of each stamp, `remember` keeps new ones."""

    find: Callable[[Sequence[FileStamp]], Sequence[str | None]]
    remember: Callable[[Mapping[FileStamp, str]], None]

    @classmethod
    def none(cls) -> FileHashes:
        """No cache: every file is read."""
        return cls(lambda stamps: [None] * len(stamps), lambda found: None)


def cached_hashes(journal: Journal, *, is_trusted: bool = True) -> FileHashes:
    """The cache of file hashes that lies beside a dataset's answers; one that is not trusted is only added to."""

    def find(stamps: Sequence[FileStamp]) -> list[str | None]:
        if not is_trusted:
            return [None] * len(stamps)
        return journal.hashes([(stamp.uri, stamp.size, stamp.mtime_ns) for stamp in stamps])

    def remember(found: Mapping[FileStamp, str]) -> None:
        journal.remember_sha256((stamp.uri, stamp.size, stamp.mtime_ns, digest) for stamp, digest in found.items())

    return FileHashes(find, remember)


def known_hashes(known: KnownWork) -> FileHashes:
    """The same cache where nothing may be written: what is not in it is read and not remembered."""

    def find(stamps: Sequence[FileStamp]) -> list[str | None]:
        return known.hashes([(stamp.uri, stamp.size, stamp.mtime_ns) for stamp in stamps])

    return FileHashes(find, lambda found: None)
