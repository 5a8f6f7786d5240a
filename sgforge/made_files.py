"""The files that steps made: kept by the sha256 of their bytes in the folder `files` of a dataset."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from sgforge.decoding import decode_image
from sgforge.durable import make_folder, whole_file
from sgforge.errors import DatasetError, ImageError
from sgforge.file_refs import FILES_ROOT, FileRef, ImageRef
from sgforge.images import Roots
from sgforge.regular_files import read_regular

__all__ = ["MadeFiles"]

MAX_FILE_BYTES: Final = 2**28
_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif"})
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}")


@attrs.frozen
class MadeFiles:
    """Keeps files in the dataset's folder; equal bytes are one file, so that what is made again is kept once.

    A plain value: it may be sent to another process of the same machine.
    """

    folder: Path

    def put(self, data: bytes, suffix: str) -> ImageRef | FileRef:
        """Keep a file, durable when this returns: of a picture's suffix an `ImageRef`, measured by decoding it.

        `suffix`: such as ".png"; letters and digits. What is too large (256 MiB), or a picture that cannot be decoded
        or has too many pixels, is an `ImageError`; a suffix that is none, or data that are no bytes, a `DatasetError`.
        """
        if not (isinstance(suffix, str) and _SUFFIX.fullmatch(suffix)):
            raise DatasetError(f"the suffix of a file reads like '.png', not {suffix!r}")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise DatasetError(f"a file is made of bytes, not of {type(data).__name__}")
        data = bytes(data)
        if len(data) > MAX_FILE_BYTES:
            raise ImageError(f"a made file has {len(data)} bytes, at most {MAX_FILE_BYTES} are kept", "image-refused")
        digest = hashlib.sha256(data).hexdigest()
        size = decode_image(data, f"that was made ({digest[:12]})").size if suffix in _PICTURES else None
        relative = f"{digest[:2]}/{digest}{suffix}"
        self._keep(self.folder / relative, data)
        if size is None:
            return FileRef(digest, len(data))
        return ImageRef(f"{FILES_ROOT}:{relative}", digest, *size)

    def _keep(self, path: Path, data: bytes) -> None:
        # A file that is there was whole when it got its name; only its length is looked at, `verify` reads it.
        if path.is_file() and path.stat().st_size == len(data):
            return
        try:
            make_folder(path.parent)
            with whole_file(path) as stream:
                stream.write(data)
                os.fchmod(stream.fileno(), 0o444)
        except OSError as error:
            raise DatasetError(
                f"{path}: cannot write: {error.strerror or error}; run again after mending it"
            ) from error

    def path_of(self, uri: str) -> Path:
        """Where the picture of a uri "files:..." lies; a way out of the folder is an `ImageError`."""
        return Roots({FILES_ROOT: self.folder}).resolve(uri)

    def has(self, ref: FileRef) -> bool:
        """Whether a file is there."""
        return any((self.folder / ref.sha256[:2]).glob(f"{ref.sha256}.*"))

    def find(self, ref: FileRef) -> Path:
        """Where a file is; one that is not there is a `DatasetError`."""
        found = sorted((self.folder / ref.sha256[:2]).glob(f"{ref.sha256}.*"))
        if not found:
            raise DatasetError(f"{self.folder} has no file {ref.sha256[:12]}: it was removed; make it again")
        if found[0].is_symlink():
            raise DatasetError(f"{found[0]} is a link to elsewhere: refused")
        return found[0]

    def read(self, ref: FileRef) -> bytes:
        """The bytes of a file; one that is not there, or not as it was, is a `DatasetError`."""
        try:
            data = read_regular(self.find(ref), MAX_FILE_BYTES)
        except OSError as error:
            raise DatasetError(f"{self.find(ref)} cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise DatasetError(f"{self.find(ref)} is not what was put there")
        return data

    def copy_to(self, folder: Path, uris: Sequence[str]) -> dict[str, int]:
        """Copy pictures to a folder, by the paths of their uris; how many were copied, and how many are gone."""
        counts = {"pictures": 0, "pictures that are gone": 0}
        try:
            for uri in uris:
                source = self.path_of(uri)
                if not source.is_file():
                    counts["pictures that are gone"] += 1
                    continue
                target = folder / source.relative_to(self.folder.resolve())
                make_folder(target.parent)
                with whole_file(target) as stream:
                    stream.write(read_regular(source, MAX_FILE_BYTES))
                counts["pictures"] += 1
        except OSError as error:
            raise DatasetError(f"{folder}: cannot write: {error.strerror or error}") from error
        return {what: count for what, count in counts.items() if count}

    def problems(self) -> Iterator[str]:
        """What is wrong with the files that are there: bytes that are not those of the name."""
        for path in sorted(self.folder.glob("*/*.*")):
            if not path.name.startswith(".") and not _is_whole(path):
                yield f"files/{path.parent.name}/{path.name}: its bytes are not those that were put there"


def _is_whole(path: Path) -> bool:
    """Whether a file has the bytes of its name; links, pipes and what is far too large have not."""
    try:
        return not path.is_symlink() and hashlib.sha256(read_regular(path, MAX_FILE_BYTES)).hexdigest() == path.stem
    except OSError:
        return False
