"""Segmenter `regions`: the annotated regions as they are."""

from __future__ import annotations

from collections.abc import Sequence

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.stages import Answer
from sgforge_baseline.config import RegionsOptions

__all__ = ["RegionsSegmenter"]


class RegionsSegmenter:
    """Adds nothing; counts the regions that later steps cannot place, as `no-geometry`."""

    def __init__(self, options: RegionsOptions) -> None:
        self.options = options

    def segment(self, samples: Sequence[Sample], /) -> list[Answer]:
        """An empty edit per sample."""
        return [_count_placeless(sample) for sample in samples]


def _count_placeless(sample: Sample) -> Edit:
    placeless = sum(
        region.box is None and (region.mask is None or region.mask.box is None)
        for region in sample.graph.regions.values()
    )
    return Edit(faults={"no-geometry": placeless} if placeless else {})
