"""Greedy merging of superpixels into nested regions: a region adjacency graph in arrays and a heap of borders.

The two neighbours are merged whose colours differ least, small regions and long common borders first: cost = colour
distance * sqrt(n1 n2 / (n1 + n2)) / sqrt(1 + border length), Ward's criterion weighted by the border.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["Node", "build_hierarchy"]

_CONTRAST: Final = 20.0
"""Colour distance (CIE76) at which the score of a border reaches 1 - 1/e."""


@attrs.frozen(eq=False)
class Node:
    """One region of the hierarchy: `leaves` are the superpixels in it, `parent` an index into the list of nodes.

    `level` counts from the coarsest, 0. `contrast`: 1 - exp(-d / 20), d the mean colour distance to its neighbours
    weighted by border length; in [0, 1], 0 for a region without neighbours.
    """

    leaves: NDArray[np.int64]
    parent: int | None
    level: int
    contrast: float


def build_hierarchy(labels: NDArray[np.int64], lab: NDArray[np.float32], levels: Sequence[int]) -> list[Node]:
    """The regions of all levels, coarsest first.

    `labels`: (H, W) superpixels 0..S-1. `lab`: (H, W, 3) colours. `levels`: falling numbers of regions.
    """
    merger = _Merger(labels, lab)
    cuts = []
    for count in levels:
        merger.merge_down_to(count)
        cuts.append(merger.cut())
    return _nodes(cuts[::-1])


@attrs.frozen(eq=False)
class _Cut:
    """One level: region ids, the superpixels of each, and its contrast."""

    regions: dict[int, tuple[NDArray[np.int64], float]]


def _nodes(cuts: Sequence[_Cut]) -> list[Node]:
    nodes: list[Node] = []
    index_of: dict[int, int] = {}
    holder: dict[int, int] = {}
    for level, cut in enumerate(cuts):
        for region, (leaves, contrast) in cut.regions.items():
            if region in index_of:
                continue
            index_of[region] = len(nodes)
            nodes.append(Node(leaves, holder.get(int(leaves[0])), level, contrast))
        for region, (leaves, _) in cut.regions.items():
            holder.update(dict.fromkeys(leaves.tolist(), index_of[region]))
    return nodes


class _Merger:
    """Regions by id: superpixels keep theirs, each merge makes a new one; borders are dicts neighbour -> length."""

    def __init__(self, labels: NDArray[np.int64], lab: NDArray[np.float32]) -> None:
        count = int(labels.max()) + 1
        flat = labels.ravel()
        sizes = np.bincount(flat, minlength=count)
        colours = np.stack([np.bincount(flat, lab[..., c].ravel(), count) / sizes for c in range(3)], axis=1)
        self._size: dict[int, int] = dict(enumerate(sizes.tolist()))
        self._colour: dict[int, list[float]] = dict(enumerate(colours.tolist()))
        self._leaves: dict[int, list[int]] = {region: [region] for region in range(count)}
        self._borders: dict[int, dict[int, int]] = {region: {} for region in range(count)}
        self._heap: list[tuple[float, int, int]] = []
        self._next = count
        for one, other, length in _adjacency(labels, count):
            self._borders[one][other] = self._borders[other][one] = length
            self._heap.append((self._cost(one, other, length), one, other))
        heapq.heapify(self._heap)

    def merge_down_to(self, count: int) -> None:
        """Merge the cheapest neighbours until `count` regions are left, or no two are neighbours."""
        while len(self._size) > count and self._heap:
            _, one, other = heapq.heappop(self._heap)
            if one in self._size and other in self._size:
                self._merge(one, other)

    def _merge(self, one: int, other: int) -> None:
        merged, self._next = self._next, self._next + 1
        n1, n2 = self._size.pop(one), self._size.pop(other)
        c1, c2 = self._colour.pop(one), self._colour.pop(other)
        self._size[merged] = n1 + n2
        self._colour[merged] = [(n1 * a + n2 * b) / (n1 + n2) for a, b in zip(c1, c2, strict=True)]
        self._leaves[merged] = self._leaves.pop(one) + self._leaves.pop(other)
        borders: dict[int, int] = {}
        for old in (one, other):
            for neighbour, length in self._borders.pop(old).items():
                if neighbour not in (one, other):
                    borders[neighbour] = borders.get(neighbour, 0) + length
                    del self._borders[neighbour][old]
        self._borders[merged] = borders
        for neighbour, length in borders.items():
            self._borders[neighbour][merged] = length
            heapq.heappush(self._heap, (self._cost(neighbour, merged, length), neighbour, merged))

    def _distance(self, one: int, other: int) -> float:
        return math.dist(self._colour[one], self._colour[other])

    def _cost(self, one: int, other: int, length: int) -> float:
        n1, n2 = self._size[one], self._size[other]
        return self._distance(one, other) * math.sqrt(n1 * n2 / (n1 + n2)) / math.sqrt(1 + length)

    def cut(self) -> _Cut:
        """The regions as they stand, by id."""
        regions = {}
        for region in sorted(self._size):
            borders = self._borders[region]
            total = sum(borders.values())
            distance = sum(length * self._distance(region, other) for other, length in borders.items()) / max(total, 1)
            leaves = np.asarray(sorted(self._leaves[region]), np.int64)
            regions[region] = (leaves, 1 - math.exp(-distance / _CONTRAST))
        return _Cut(regions)


def _adjacency(labels: NDArray[np.int64], count: int) -> list[tuple[int, int, int]]:
    """(smaller id, larger id, border length in pixel edges) of all 4-neighbouring superpixels."""
    sides = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    first = np.concatenate([np.minimum(a, b)[a != b] for a, b in sides])
    second = np.concatenate([np.maximum(a, b)[a != b] for a, b in sides])
    keys, lengths = np.unique(first * count + second, return_counts=True)
    return list(zip((keys // count).tolist(), (keys % count).tolist(), lengths.tolist(), strict=True))
