"""Pictures that are missing: in which folder they were looked for, and what lies there under a like name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

import attrs

from sgforge.images import Roots

__all__ = ["Neighbours"]

_MOST_LISTED: Final = 200_000
"""Entries of one folder that are looked through; a like name beyond them is not found."""


class Neighbours:
    """Looks around where a picture is missing. Every folder is listed once, however many pictures it lacks."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self._listings: dict[Path, _Listing] = {}

    def tell(self, uri: str) -> str:
        """`image coco:val/a.jpg does not exist: /data/coco/val holds a.png`, or in which folder it is not."""
        root, _, relative = uri.partition(":")
        folder, parts = self.roots.resolve(f"{root}:"), list(PurePosixPath(relative).parts)
        while len(parts) > 1 and (folder / parts[0]).is_dir():
            folder /= parts.pop(0)
        near = next(self._near(folder, parts), None)
        if near is not None:
            return f"image {uri} does not exist: {folder} holds {near}"
        lacking = "" if len(parts) == 1 else f", which has no folder {parts[0]}"
        return f"image {uri} does not exist in {folder}{lacking}"

    def _near(self, folder: Path, parts: list[str]) -> Iterator[str]:
        """Other case, other suffix, without the folder that is missing, in a folder below."""
        name, listing = parts[-1], self._listing(folder)
        for wanted in dict.fromkeys((parts[0], name)):
            for plain in (wanted.casefold(), _stem(wanted)):
                if plain in listing.names:
                    yield listing.names[plain]
        for entry in listing.folders:
            if (folder / entry / name).is_file():
                yield f"{entry}/{name}"

    def _listing(self, folder: Path) -> _Listing:
        found = self._listings.get(folder)
        if found is None:
            with os.scandir(folder) as entries:
                listed = sorted((entry.name, _is_folder(entry)) for entry in islice(entries, _MOST_LISTED))
            names = {_stem(name): name for name, _ in listed}
            names.update((name.casefold(), name) for name, _ in listed)
            found = self._listings[folder] = _Listing(names, tuple(name for name, is_folder in listed if is_folder))
        return found


@attrs.frozen
class _Listing:
    """The names in a folder by themselves and by their stems, without case; which of them are folders."""

    names: Mapping[str, str]
    folders: tuple[str, ...]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # A link is followed by a call that takes a loop of links for none.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _stem(name: str) -> str:
    return f"{PurePosixPath(name).stem.casefold()}."
