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

    def remarks(self) -> Sequence[str]:
        """How many files were passed over because their suffix is none of an image."""
        if not self._passed:
            return ()
        kinds = ", ".join(ascii(suffix)[1:-1] if suffix else "none" for suffix in sorted(self._passed)[:_KINDS_SHOWN])
        more = ", ..." if len(self._passed) > _KINDS_SHOWN else ""
        return (f"files passed over, as their suffix is none of an image: {self._passed.total()} ({kinds}{more})",)

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
        self._passed.clear()
        names = _sorted_names(folder, graphs_path, self._passed)
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


def _sorted_names(folder: Path, graphs_path: Path | None, passed: Counter[str]) -> list[str]:
    """Paths of the images, relative to the folder, sorted; `passed` counts the other files by suffix.

    Links are followed only to files, the engine checks where to.
    """
    names = []
    for path in folder.rglob("*"):
        if path.is_dir():
            continue
        if path.suffix.lower() in SUFFIXES:
            names.append(path.relative_to(folder).as_posix())
        elif path != graphs_path:
            passed[path.suffix.lower()] += 1
    return sorted(names)
