"""The source `folder`: every image in a folder and its subfolders, with what a graph JSONL file says of some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure
from sgforge_formats.checks import is_plain, join_uri, locate
from sgforge_formats.config import FolderOptions
from sgforge_formats.graphs import read_graphs

__all__ = ["SUFFIXES", "FolderSource"]

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"})
"""Files with another suffix are no images and are passed over."""

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

    def remarks(self) -> Sequence[str]:
        """What was passed over: files whose suffix is none of an image, folders that are links."""
        return (*self._files_passed(), *self._folders_passed())

    def _files_passed(self) -> Iterator[str]:
        if not self._passed:
            return
        kinds = ", ".join(ascii(suffix)[1:-1] if suffix else "none" for suffix in sorted(self._passed)[:_KINDS_SHOWN])
        more = ", ..." if len(self._passed) > _KINDS_SHOWN else ""
        yield f"files passed over, as their suffix is none of an image: {self._passed.total()} ({kinds}{more})"

    def _folders_passed(self) -> Iterator[str]:
        if self._linked:
            names = ", ".join(ascii(name)[1:-1] for name in self._linked[:_KINDS_SHOWN])
            more = ", ..." if len(self._linked) > _KINDS_SHOWN else ""
            yield f"folders passed over, as they are links: {len(self._linked)} ({names}{more})"

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the folder and the graph file are there."""
        self._located(roots, name)

    def _located(self, roots: Roots, name: str) -> tuple[str, Path, Path | None]:
        options = self._options
        folder_uri, folder = locate(roots, options.images, name, "images", is_folder=True)
        if options.graphs is None:
            return folder_uri, folder, None
        return folder_uri, folder, locate(roots, options.graphs, name, "graphs", root=f"{name}-graphs")[1]

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image, in the order of its path; no image at all is a `ConfigError`."""
        options = self._options
        folder_uri, folder, graphs_path = self._located(roots, name)
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
            yield attrs.evolve(known, uri=join_uri(folder_uri, image_id), split=known.split or options.split)
        for image_id in graphs:
            where = f"{Path(options.graphs or '').name}: {image_id}"
            yield SourceFailure(where, "unknown-image", f"{options.images} holds no image {image_id}", image_id)

    def _find(self, folder: Path, graphs_path: Path | None) -> list[str]:
        """Paths of the images, relative to the folder, sorted; what is passed over is remembered.

        Links are followed only to files, the engine checks where to.
        """
        names: list[str] = []
        self._passed.clear()
        self._linked.clear()
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_dir():
                if path.is_symlink():
                    self._linked.append(name)
            elif path.suffix.lower() in SUFFIXES:
                names.append(name)
            elif path != graphs_path:
                self._passed[path.suffix.lower()] += 1
        self._linked.sort()
        return sorted(names)
