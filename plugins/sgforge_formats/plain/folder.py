"""The source `folder`: every image in a folder and its subfolders, with what a graph JSONL file says of some."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from sgforge.decoding import can_decode
from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge_formats.config import FolderOptions
from sgforge_formats.plain.graphs import read_graphs
from sgforge_formats.reading.checks import is_plain, join_uri, locate
from sgforge_formats.reading.pictures import Turner

__all__ = ["SUFFIXES", "FolderSource"]

SUFFIXES: Final = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
    }
)
"""Files with another suffix are no images and are passed over; .avif too, where Pillow cannot decode it."""

_SYSTEM_FOLDERS: Final = frozenset({"__MACOSX", "@eaDir"})
"""What macOS and Synology put beside pictures: companion files and thumbnails of the same names."""
_AVIF: Final = ".avif"
_KINDS_SHOWN: Final = 5


class FolderSource:
    """Reads a folder of images; the id of an image is its path in the folder, with / and suffix.

    Reasons of failures: bad-name (a file name with control characters or bytes that are no text), bad-line and
    duplicate-image (of the graph file), unknown-image (a graph of an image that is not in the folder).
    """

    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._passed: Counter[str] = Counter()
        self._linked: list[str] = []
        self._hidden: list[str] = []
        self._unread: list[str] = []
        self._turner: Turner | None = None

    def remarks(self) -> Sequence[str]:
        """What was passed over: files of other suffixes, what is hidden, folders that are links; what was turned."""
        told = []
        if self._passed:
            kinds = [suffix or "none" for suffix in sorted(self._passed)]
            told.append(
                f"files passed over, as their suffix is none of an image: {self._passed.total()} ({_shown(kinds)})"
            )
        if self._hidden:
            count = len(self._hidden)
            told.append(f"hidden files and folders passed over: {count} ({_shown(self._hidden)})")
        if self._linked:
            told.append(f"folders passed over, as they are links: {len(self._linked)} ({_shown(self._linked)})")
        if self._unread:
            told.append(f"folders passed over, as they cannot be read: {len(self._unread)} ({_shown(self._unread)})")
        return (*told, *(() if self._turner is None else self._turner.remarks()))

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the folder and the graph file are there."""
        self._located(roots, name)

    def _located(self, roots: Roots, name: str) -> tuple[str, Path, Path | None]:
        options = self._options
        folder_uri, folder = locate(roots, options.images, name, "images", is_folder=True)
        if options.graphs is None:
            return folder_uri, folder, None
        return folder_uri, folder, locate(roots, options.graphs, name, "graphs", root=f"{name}-graphs")[1]

    def stamp(self, roots: Roots, name: str) -> Stamp:
        """The names in the folder decide, those that are passed over too, and the graph file."""
        _, folder, graphs = self._located(roots, name)
        names = self._find(folder, graphs), sorted(self._passed.items()), self._linked, self._hidden, self._unread
        return Stamp(() if graphs is None else (graphs,), facts=hashlib.sha256(ascii(names).encode()).hexdigest())

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image, in the order of its path; no image at all is a `ConfigError`."""
        options = self._options
        folder_uri, folder, graphs_path = self._located(roots, name)
        self._turner = Turner(roots, options.orientation)
        graphs: dict[str, Sample] = {}
        if graphs_path is not None:
            for item in read_graphs(graphs_path):
                if isinstance(item, Sample):
                    graphs[item.image_id] = item
                else:
                    yield item
        names = self._find(folder, graphs_path)
        if not names:
            raise ConfigError(f"source {name!r}: {options.images} holds no image ({', '.join(sorted(SUFFIXES))})")
        for image_id in names:
            if not is_plain(image_id):
                shown = ascii(image_id)
                yield SourceFailure(shown, "bad-name", f"the name of {shown} holds characters that no id may have")
                continue
            known = graphs.pop(image_id, None) or Sample(image_id)
            uri = self._turner.place(join_uri(folder_uri, image_id))
            yield attrs.evolve(known, uri=uri, split=known.split or options.split)
        for image_id in graphs:
            where = f"{Path(options.graphs or '').name}: {image_id}"
            yield SourceFailure(where, "unknown-image", f"{options.images} holds no image {image_id}", image_id)

    def _find(self, folder: Path, graphs_path: Path | None) -> list[str]:
        """Paths of the images, relative to the folder, sorted; what is passed over is remembered.

        Links are followed only to files, the engine checks where to.
        """
        names: list[str] = []
        self._passed.clear()
        self._linked, self._hidden, self._unread = [], [], []
        for place, folders, files in os.walk(folder, onerror=lambda error: self._unread.append(str(error.filename))):
            prefix = "" if place == str(folder) else f"{os.path.relpath(place, folder)}/"
            folders[:] = self._entered(place, folders, prefix)
            for file in files:
                suffix = os.path.splitext(file)[1].lower()
                if file.startswith("."):
                    self._hidden.append(prefix + file)
                elif suffix in SUFFIXES and (suffix != _AVIF or can_decode("AVIF")):
                    names.append(prefix + file)
                elif Path(place, file) != graphs_path:
                    self._passed[suffix] += 1
        self._linked.sort()
        self._hidden.sort()
        self._unread.sort()
        return sorted(names)

    def _entered(self, place: str, folders: Sequence[str], prefix: str) -> Iterator[str]:
        """The folders in `place` that are looked into."""
        for name in folders:
            if name.startswith(".") or name in _SYSTEM_FOLDERS:
                self._hidden.append(prefix + name)
            elif os.path.islink(os.path.join(place, name)):
                self._linked.append(prefix + name)
            else:
                yield name


def _shown(names: Sequence[str]) -> str:
    """The first few names, safe to print."""
    more = ", ..." if len(names) > _KINDS_SHOWN else ""
    return ", ".join(ascii(name)[1:-1] for name in names[:_KINDS_SHOWN]) + more
