"""Sources that have not changed: what was kept of the last reading of each, and whether it still holds.

It holds while the options, the component's revision and the source's `Stamp` are the same, every picture has the sha256
that stands in the snapshot, and what failed still fails. A picture is looked at by `stat`; one of which size and time
of change are not those that its hash was kept with is read, and so is one that failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import cattrs
import numpy as np

from sgforge.digests import file_sha256
from sgforge.engine.context import options_json
from sgforge.engine.planning.components import ComponentSpec
from sgforge.engine.sources.file_hashes import FileHashes, FileStamp
from sgforge.engine.sources.reading import Reading, blamed, read_pictures
from sgforge.errors import ImageError
from sgforge.images import Roots, unturned_uri
from sgforge.stages import SourceFailure, Stamp

if TYPE_CHECKING:
    from sgforge.dataset import ReadingRecord, Snapshot, StateIndex

__all__ = ["FailedImage", "Kept", "LeftOut", "LookedAt", "PictureFiles", "Told", "Unchanged"]

_READING: Final = 1
"""Raised when the engine makes something else of equal files, so that what was read before is read again."""
_CHUNK: Final = 4096
_SLICE: Final = 256


@attrs.frozen
class FailedImage:
    """An image that could not be read: `uri` of its picture; `sha256` of that, if the fault is the annotation's."""

    failure: SourceFailure
    uri: str | None = None
    sha256: str | None = None


@attrs.frozen
class LeftOut:
    """Annotations that were left out for one reason: how many, and a remark that shows the first."""

    reason: str
    count: int
    first: str


@attrs.frozen
class Told:
    """What the reading of one source had to tell beside its samples."""

    failed: tuple[FailedImage, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Kept:
    """The images of a source that need not be read: rows of a snapshot, and what was told of the others."""

    snapshot: Snapshot
    rows: np.ndarray
    told: Told


@attrs.frozen(eq=False)
class LookedAt:
    """A source as it is now. `identity` and `stamp` are None where equal readings cannot be recognised."""

    identity: str | None
    stamp: str | None
    kept: Kept | None = None

    def record(self, snapshot_id: str, told: Told) -> ReadingRecord | None:
        """What the next run is to know of this reading; None if it could not use it."""
        from sgforge.dataset import ReadingRecord

        if self.identity is None or self.stamp is None:
            return None
        return ReadingRecord(self.identity, self.stamp, snapshot_id, json.dumps(_CONVERTER.unstructure(told)))


class Memory(Protocol):
    """What a dataset remembers of readings."""

    def reading(self, identity: str) -> ReadingRecord | None:
        """The last reading under an identity."""
        ...


class Unchanged:
    """Looks whether sources are as they were. It runs in the calling thread, files are looked at by a few of its own.

    `is_stopped`: asked now and then; then nothing counts as unchanged, and the reading that follows ends at once.
    """

    def __init__(
        self,
        memory: Memory,
        states: StateIndex,
        roots: Roots,
        hashes: FileHashes,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._memory = memory
        self._states = states
        self._roots = roots
        self._hashes = hashes
        self._is_stopped = is_stopped

    def look(
        self,
        name: str,
        spec: ComponentSpec,
        source: Any,
        limit: int | None,
        copies: int | None = None,
        *,
        trusts: bool = True,
    ) -> LookedAt:
        """One source, `source` being the component that `spec` builds; if it is not to be trusted, nothing is kept."""
        identity = _identity(name, spec, limit, copies)
        if identity is None or not hasattr(source, "stamp"):
            return LookedAt(None, None)
        # Before the reading: what changes while that goes on is another stamp the next time.
        with blamed(name):
            given = source.stamp(self._roots, name)
            if given is None:
                return LookedAt(None, None)
            stamp = _digest(given)
        record = self._memory.reading(identity) if trusts else None
        if record is None or record.stamp != stamp or record.snapshot_id not in self._states:
            return LookedAt(identity, stamp)
        snapshot = self._states.snapshot(record.snapshot_id)
        kept = Kept(snapshot, _rows_of(snapshot, name), _CONVERTER.structure(json.loads(record.told), Told))
        return LookedAt(identity, stamp, kept if self._holds(kept) else None)

    def _holds(self, kept: Kept) -> bool:
        files = PictureFiles(self._roots)
        return all(not self._is_stopped() and holds for holds in self._parts_hold(kept, files))

    def _parts_hold(self, kept: Kept, files: PictureFiles) -> Iterator[bool]:
        column = kept.snapshot.column("image/uri")
        uris = [] if isinstance(column, np.ndarray) else column.take(kept.rows).texts()
        digests = np.asarray(kept.snapshot.column("image/sha256"))[kept.rows]
        with ThreadPoolExecutor(4, thread_name_prefix="sgforge-stat") as threads:
            for start in range(0, len(uris), _CHUNK):
                known = digests[start : start + _CHUNK].tobytes().hex()
                names = (known[at : at + 64] for at in range(0, len(known), 64))
                pictures = [pair for pair in zip(uris[start : start + _CHUNK], names, strict=True) if pair[0]]
                yield self._pictures_hold(pictures, files, threads)
        for chunk in _chunks([failed for failed in kept.told.failed if failed.uri is not None]):
            yield self._failures_hold(chunk, files)

    def _pictures_hold(
        self, pictures: Sequence[tuple[str, str]], files: PictureFiles, threads: ThreadPoolExecutor
    ) -> bool:
        """Whether these pictures, (uri, sha256) each, are as they were."""
        uris = [uri for uri, _ in pictures]
        slices = (uris[start : start + _SLICE] for start in range(0, len(uris), _SLICE))
        stamps: list[FileStamp] = []
        for found in threads.map(files.stamps, slices):
            if found is None:
                return False
            stamps += found
        # A picture that its tag turns has another sha256 than its file: it is looked at closely, as are those that
        # changed. Most are neither.
        close = [
            picture for picture, sha256 in zip(pictures, self._hashes.find(stamps), strict=True) if picture[1] != sha256
        ]
        readings = read_pictures([uri for uri, _ in close], self._roots, self._hashes)
        return all(reading.sha256 == digest for reading, (_, digest) in zip(readings, close, strict=True))

    def _failures_hold(self, failed: Sequence[FailedImage], files: PictureFiles) -> bool:
        """Whether these images, which could not be read, still cannot."""
        uris = [one.uri or "" for one in failed]
        close = []
        for one, uri in zip(failed, uris, strict=True):
            if one.failure.reason != "image-missing":
                close.append((one, uri))
            elif files.stamp(uri) is not None:
                return False
        readings = read_pictures([uri for _, uri in close], self._roots, self._hashes)
        return all(_fails_again(one, reading) for (one, _), reading in zip(close, readings, strict=True))


class PictureFiles:
    """Stamps of pictures by `stat` alone; where a folder leads is looked up once."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._folders: dict[str, str] = {}

    def stamps(self, uris: Iterable[str]) -> list[FileStamp] | None:
        """Those of several pictures; None if one of them has none."""
        found = []
        for uri in uris:
            stamp = self.stamp(uri)
            if stamp is None:
                return None
            found.append(stamp)
        return found

    def stamp(self, uri: str) -> FileStamp | None:
        """The stamp of a picture; None unless it is a regular file inside its root."""
        uri = unturned_uri(uri)
        start = max(uri.rfind("/"), uri.find(":")) + 1
        try:
            # What a link or a backslash leads to is for the roots to say.
            status = None if "\\" in uri else os.lstat(self._folder(uri[:start]) + uri[start:])
            if status is None or stat.S_ISLNK(status.st_mode):
                status = self._roots.resolve(uri).stat()
        except (ImageError, OSError, ValueError):
            return None
        return FileStamp(uri, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def _folder(self, uri: str) -> str:
        found = self._folders.get(uri)
        if found is None:
            found = self._folders[uri] = f"{self._roots.resolve(uri)}{os.sep}"
        return found


def _digest(stamp: Stamp) -> str:
    total = hashlib.sha256(f"{stamp.facts}\n".encode())
    for path in stamp.files:
        total.update(file_sha256(path))
    return total.hexdigest()


def _identity(name: str, spec: ComponentSpec, limit: int | None, copies: int | None) -> str | None:
    """What decides, beside files, what a source gives under this name; None for one that cannot be recognised."""
    if not spec.is_stable:
        return None
    from sgforge import __version__

    owner = None if spec.component is None else spec.component.owner.version
    parts = [_READING, __version__, owner, name, limit, spec.path, spec.revision, options_json(spec)]
    parts += [] if copies is None else [copies]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _rows_of(snapshot: Snapshot, source: str) -> np.ndarray:
    """The rows of a snapshot that a source gave."""
    words = snapshot.vocabulary("source")
    number = words.index(source) if source in words else -1
    column: np.ndarray = np.asarray(snapshot.column("image/source"))
    return np.flatnonzero(column == number) if number >= 0 else np.zeros(0, np.int64)


def _fails_again(before: FailedImage, now: Reading) -> bool:
    if before.sha256 is not None:
        # Its picture could be read: unless that has changed, the annotation, which has not, is at fault again.
        return now.sha256 == before.sha256
    return now.failure is not None and now.failure.reason == before.failure.reason


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


_CONVERTER: Final = cattrs.Converter()
