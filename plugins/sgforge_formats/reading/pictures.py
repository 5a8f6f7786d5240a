"""Pictures in folders: finding the files that an annotation file names, as people spell them, and which are turned."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import attrs

from sgforge.errors import ImageError
from sgforge.images import Roots, turned_uri
from sgforge_formats.config import Orientation
from sgforge_formats.reading.checks import join_uri

__all__ = ["FoundPicture", "PictureFolder", "Turner"]


class Turner:
    """Turns pictures as their orientation tags say, if a source is asked to, and counts them."""

    def __init__(self, roots: Roots, orientation: Orientation) -> None:
        self._roots = roots
        self._is_asked = orientation == "apply"
        self.count = 0

    def place(self, uri: str) -> str:
        """The uri of the picture, turned if it has a tag that says so; one that cannot be read stays as it is."""
        if not self._is_asked:
            return uri
        turned = turned_uri(uri)
        try:
            has_tag = self._roots.image(turned).header().orientation != 1
        except (ImageError, OSError):
            return uri
        self.count += has_tag
        return turned if has_tag else uri

    def remarks(self) -> Iterator[str]:
        """What was turned, in a sentence."""
        if self.count:
            yield f"pictures turned as their orientation tag says: {self.count}"


@attrs.frozen
class FoundPicture:
    """The uri of a picture; `is_respelled`: its name on disk differs in case or in the form of its accents."""

    uri: str
    is_respelled: bool = False


class PictureFolder:
    """The folder behind a uri; a name that is not there as written is looked for in other case and form (NFC, NFD)."""

    def __init__(self, roots: Roots, uri: str) -> None:
        self._uri = uri
        self._path = roots.resolve(uri)
        self._listings: dict[Path, dict[str, str | None]] = {}

    def find(self, names: Sequence[str]) -> FoundPicture:
        """The first of `names` that is a file, else one spelt otherwise, else the likeliest; nothing is opened."""
        inside = f"{self._path}{os.sep}"
        names = [name.removeprefix(inside) for name in names]
        for name in names:
            if self._is_file(name):
                return FoundPicture(join_uri(self._uri, name))
        for name in names:
            respelled = self._respelled(name)
            if respelled is not None:
                return FoundPicture(join_uri(self._uri, respelled), is_respelled=True)
        likeliest = names[1] if "\\" in names[0] else names[0]
        return FoundPicture(join_uri(self._uri, likeliest))

    def _is_file(self, name: str) -> bool:
        try:
            return os.path.isfile(f"{self._path}{os.sep}{name}")
        except ValueError:  # a name that no file can have
            return False

    def _respelled(self, name: str) -> str | None:
        """The one path in the folder that is `name` but for case and form; None if there is none, or several."""
        folder, found = self._path, []
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\0" in name:
            return None
        for part in parts:
            actual = part if (folder / part).exists() else self._listing(folder).get(_plain(part))
            if actual is None:
                return None
            found.append(actual)
            folder /= actual
        return "/".join(found) if folder.is_file() else None

    def _listing(self, folder: Path) -> dict[str, str | None]:
        """Names in a folder by their plain form; None where several have it."""
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = {}
            for name in os.listdir(folder) if folder.is_dir() else ():
                plain = _plain(name)
                known[plain] = None if plain in known else name
        return known


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
