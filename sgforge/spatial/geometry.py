"""The geometry of one image's regions as arrays: boxes, depths, parents, and masks that are decoded when needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import Mask, Region, SceneGraph

__all__ = ["Geometry"]

Floats = NDArray[np.floating]


@attrs.frozen(eq=False)
class Geometry:
    """N regions of one image.

    `boxes`: (N, 4) float64 xyxy in pixels, a row of NaN for a region without geometry. `depth`: (N,) float64, larger
    is farther, distances from the camera in any unit, NaN where unknown. `parents`: (N,) int64, -1 for none. `masks`:
    N masks or None each; all of one frame.
    """

    boxes: NDArray[np.float64]
    depth: NDArray[np.float64]
    parents: NDArray[np.int64]
    masks: tuple[Mask | None, ...]

    @classmethod
    def from_boxes(
        cls, boxes: Sequence[Sequence[float]] | Floats, depth: Sequence[float] | Floats | None = None
    ) -> Self:
        """The geometry of plain boxes, (N, 4) xyxy, with N depths where they are known."""
        array = np.asarray(boxes, np.float64).reshape(-1, 4)
        count = len(array)
        depths = np.full(count, np.nan) if depth is None else np.asarray(depth, np.float64)
        return cls(array, depths, np.full(count, -1, np.int64), (None,) * count)

    @classmethod
    def of_regions(cls, regions: Iterable[Region]) -> Self:
        """The geometry of regions; a region without a box takes the box of its mask."""
        rows = tuple(regions)
        nothing = (np.nan,) * 4
        boxes = [region.box or (region.mask.box if region.mask is not None else None) or nothing for region in rows]
        return cls(
            np.asarray(boxes, np.float64).reshape(-1, 4),
            np.asarray([np.nan if region.depth is None else region.depth for region in rows], np.float64),
            np.asarray([-1 if region.parent is None else region.parent for region in rows], np.int64),
            tuple(region.mask if region.mask is not None and region.mask.crop_width else None for region in rows),
        )

    @classmethod
    def of(cls, graph: SceneGraph) -> Self:
        """The geometry of all regions of a graph, rejected ones included, so that indices stay the graph's."""
        return cls.of_regions(graph.all.regions)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def has_box(self) -> NDArray[np.bool_]:
        """(N,) whether a region has any geometry."""
        known: NDArray[np.bool_] = ~np.isnan(self.boxes[:, 0])
        return known

    def descends(self, pairs: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(P,) whether the first region of each pair (P, 2) has the second among its ancestors."""
        found = np.zeros(len(pairs), np.bool_)
        open_, current = np.arange(len(pairs)), pairs[:, 0]
        # A chain cannot be longer than the number of regions: a loop of parents ends there too.
        for _ in range(len(self)):
            current = self.parents[current]
            found[open_[current == pairs[open_, 1]]] = True
            goes_on = (current >= 0) & ~found[open_]
            open_, current = open_[goes_on], current[goes_on]
            if not len(open_):
                break
        return found
