"""The source `scenes`: procedural scenes, made when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

from sgforge.errors import ConfigError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge_formats.config import ScenesOptions
from sgforge_formats.reading.checks import join_uri

__all__ = ["ScenesSource"]


class ScenesSource:
    """Makes scenes, writes their images and gives their true graphs, or the images alone."""

    def __init__(self, options: ScenesOptions) -> None:
        if options.count < 1:
            raise ConfigError(f"scenes: count must be 1 or more, got {options.count}")
        self._options = options

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` if the folder cannot be one; it is made when the scenes are."""
        _, path = roots.locate(self._options.folder, name)
        if path.exists() and not path.is_dir():
            raise ConfigError(
                f"source {name!r}: {self._options.folder} is a file: name a folder with the option folder"
            )

    def stamp(self, roots: Roots, name: str) -> Stamp:
        """The options decide, and the pictures that are there."""
        self._located(roots, name)
        return Stamp()

    def _located(self, roots: Roots, name: str) -> tuple[str, Path]:
        """The uri and the path of the folder, which is made if it is a plain path."""
        folder = self._options.folder
        if folder.partition(":")[0] not in roots:
            Path(folder).expanduser().mkdir(parents=True, exist_ok=True)
        return roots.locate(folder, name)

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """`count` scenes in the order of their seeds."""
        from sgforge.testing.scenes import scene_samples

        options = self._options
        uri, folder = self._located(roots, name)
        made = scene_samples(
            folder,
            options.count,
            options.seed,
            size=options.size,
            uri=join_uri(uri, ""),
            pixel_relations=options.pixel_relations,
        )
        for sample in made:
            yield attrs.evolve(sample, graph=_given(sample.graph, options.graphs), split=options.split)


def _given(truth: SceneGraph, graphs: str) -> SceneGraph:
    """As much of the true graph as the option gives away."""
    if graphs == "full":
        return truth
    regions = truth.all.regions if graphs == "regions" else ()
    return SceneGraph(truth.width, truth.height, regions)
