"""The source `gas`: graphs without images."""

from __future__ import annotations

from collections.abc import Iterator

from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge_gas.config import GasOptions
from sgforge_gas.sampling import Sampler

__all__ = ["GasSource"]


class GasSource:
    """Draws graphs, one by one as they are asked for; the column gas.plausibility keeps how plausible each is."""

    def __init__(self, options: GasOptions) -> None:
        self._options = options

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` where files cannot be read or no graph can keep the bounds."""
        Sampler(self._options)

    def stamp(self, roots: Roots, name: str) -> Stamp:
        """The options decide, and the files that they name."""
        files = (self._options.vocabulary, self._options.histogram)
        return Stamp([path for path in files if path is not None])  # type: ignore[misc]

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """`count` graphs in the order of their numbers."""
        options = self._options
        yield from Sampler(options).samples(range(options.start, options.start + options.count), options.split)
