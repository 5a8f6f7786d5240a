"""The filter behind the name "size"."""

from __future__ import annotations

from collections.abc import Sequence

from sgforge import Edit, Region, Sample


class SizeFilter:
    """Says of each region how much of the picture its box covers; judges nothing."""

    def filter(self, samples: Sequence[Sample]) -> list[Edit]:
        """One edit per sample, in order."""
        return [Edit.sum(self._measure(sample)) for sample in samples]

    def _measure(self, sample: Sample) -> list[Edit]:
        frame = Region(box=(0, 0, sample.graph.width or 1, sample.graph.height or 1))
        boxed = {index: region for index, region in sample.graph.regions.items() if region.box is not None}
        return [Edit.value("region", index, "echo.size", _area(one) / _area(frame)) for index, one in boxed.items()]


def _area(region: Region) -> float:
    x0, y0, x1, y1 = region.box or (0, 0, 0, 0)
    return (x1 - x0) * (y1 - y0)
