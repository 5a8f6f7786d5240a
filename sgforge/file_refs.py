"""References to files that a step made: ImageRef and FileRef, by content."""

from __future__ import annotations

import re
from typing import Final

import attrs

from sgforge.errors import GraphError
from sgforge.text.wording import shortened

__all__ = ["FILES_ROOT", "FileRef", "ImageRef", "is_made"]

FILES_ROOT: Final = "files"
"""The root of uris of made files: the folder `files` of the dataset."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def is_made(uri: str | bytes | None) -> bool:
    """Whether a uri, as a text or as UTF-8, names a file that a step made."""
    if isinstance(uri, bytes):
        return uri.startswith(f"{FILES_ROOT}:".encode())
    return uri is not None and uri.startswith(f"{FILES_ROOT}:")


def _check_sha256(value: object) -> None:
    if not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise GraphError(f"sha256 {shortened(value)} must be 64 lower-case hexadecimal digits")


@attrs.frozen
class FileRef:
    """A file of the dataset by the sha256 of its bytes, and how many these are."""

    sha256: str
    length: int

    def __attrs_post_init__(self) -> None:
        _check_sha256(self.sha256)
        if type(self.length) is not int or self.length < 0:
            raise GraphError(f"the length of a file is a number of bytes, not {shortened(self.length)}")


@attrs.frozen
class ImageRef:
    """A picture that a step made: its uri "files:...", the sha256 of the encoded file, width and height in pixels."""

    uri: str
    sha256: str
    width: int
    height: int

    def __attrs_post_init__(self) -> None:
        if not (isinstance(self.uri, str) and is_made(self.uri)):
            raise GraphError(f"a made picture lies in {FILES_ROOT}:, where files.put keeps it, not at {self.uri!r}")
        _check_sha256(self.sha256)
        for side in (self.width, self.height):
            if type(side) is not int or side < 1:
                raise GraphError(f"a picture of {shortened(self.width)}x{shortened(self.height)} pixels")
