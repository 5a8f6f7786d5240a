"""Where labels go: beside or inside what they name, off small regions, off each other, inside the picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import attrs
import numpy as np

from sgforge.draw.canvas import Canvas, Point, Rect
from sgforge.draw.shapes import Shape

__all__ = ["Place", "Places"]

_INSIDE_SHARE = 1 / 10  # a label may lie on its own region only if it covers at most this share of it
_HIDING_COST = 1500.0  # for labels that together would cover a whole region, counted from `_INSIDE_SHARE` up
_CELL = 3  # picture pixels a side of a cell of the occupancy grid
_LABEL_COST = 60.0
_REGION_COST = 9.0  # for the smallest regions, falling with their size
_ANGLES = 16


@attrs.frozen
class Place:
    """A label's rectangle and, if it stands apart, the leader line from it to its region."""

    rect: Rect
    leader: tuple[Point, Point] | None


class Places:
    """Chooses places one after another; what is placed stays free of what comes later."""

    def __init__(self, canvas: Canvas, shapes: Iterable[Shape]) -> None:
        shapes = list(shapes)
        self._canvas = canvas
        self._sides = np.array([attrs.astuple(shape.rect) for shape in shapes]).reshape(-1, 4).T
        self._hidden = np.zeros(len(shapes))  # pixels of each region's rectangle under labels
        self._cost = np.zeros((-(-canvas.height // _CELL), -(-canvas.width // _CELL)))
        frame = canvas.width * canvas.height
        for shape in shapes:
            weight = _REGION_COST / (1 + 600 * shape.area / frame)
            rows, columns = self._cells(shape.rect.grown(canvas.unit * 2))
            self._cost[rows, columns] += weight

    def _cells(self, rect: Rect) -> tuple[slice, slice]:
        return (
            slice(max(0, int(rect.y0 // _CELL)), max(0, math.ceil(rect.y1 / _CELL))),
            slice(max(0, int(rect.x0 // _CELL)), max(0, math.ceil(rect.x1 / _CELL))),
        )

    def _covering(self, rect: Rect) -> float:
        return float(self._cost[self._cells(rect)].sum())

    def _crossing(self, start: Point, end: Point) -> float:
        """The cost of what a line passes over."""
        steps = max(2, int(math.dist(start, end) // (2 * _CELL)))
        part = np.linspace(0.1, 0.9, steps)
        x = ((start[0] + part * (end[0] - start[0])) / _CELL).astype(int).clip(0, self._cost.shape[1] - 1)
        y = ((start[1] + part * (end[1] - start[1])) / _CELL).astype(int).clip(0, self._cost.shape[0] - 1)
        return float(self._cost[y, x].sum())

    def _under(self, rect: Rect) -> np.ndarray:
        """How many pixels of each region's rectangle a label covers."""
        x0, y0, x1, y1 = self._sides
        wide = np.minimum(x1, rect.x1) - np.maximum(x0, rect.x0)
        high = np.minimum(y1, rect.y1) - np.maximum(y0, rect.y0)
        pixels: np.ndarray = np.maximum(wide, 0) * np.maximum(high, 0)
        return pixels

    def _hiding(self, rect: Rect) -> float:
        """The cost of what a label would hide, together with the labels that lie there already."""
        under = self._under(rect)
        x0, y0, x1, y1 = self._sides
        share = (self._hidden + under) / ((x1 - x0) * (y1 - y0))
        return _HIDING_COST * float(np.maximum(share - _INSIDE_SHARE, 0)[under > 0].sum())

    def keep_free(self, point: Point, radius: float) -> None:
        """Keep labels off a point, such as the end of an arrow."""
        self._cost[self._cells(Rect(*point, *point).grown(radius))] += _LABEL_COST / 4

    def _take(self, rect: Rect) -> None:
        self._cost[self._cells(rect)] += _LABEL_COST
        self._hidden += self._under(rect)

    def _inside(self, rect: Rect) -> bool:
        return rect.x0 >= 0 and rect.y0 >= 0 and rect.x1 <= self._canvas.width and rect.y1 <= self._canvas.height

    def for_shape(self, shape: Shape, size: tuple[float, float]) -> Place:
        """The place of a region's label of `size` (width, height)."""
        best, lowest = None, math.inf
        pixels = _sampled(shape)
        for rect, distance in self._around(shape, size):
            cost = self._covering(rect) + 0.35 * distance if self._inside(rect) else math.inf
            if cost >= lowest:
                continue
            leader = self._leader(shape, pixels, rect, distance)
            if leader is not None:
                cost += 6 + 1.5 * self._crossing(*leader)
            if cost < lowest:  # only now, since it takes the longest to find out
                cost += self._hiding(rect)
            if cost < lowest:
                best, lowest = Place(rect, leader), cost
        if best is None:  # a picture smaller than the label
            best = Place(Rect(0, 0, *size), None)
        self._take(best.rect)
        return best

    def _around(self, shape: Shape, size: tuple[float, float]) -> Iterator[tuple[Rect, float]]:
        """(rectangle, distance from the region) of the places worth a look; negative: on the region itself."""
        width, height = size
        region = shape.rect
        if width * height <= _INSIDE_SHARE * shape.area and width < region.width and height < region.height:
            yield _centered(shape.anchor, size), -30.0
            for lift in (-1.1 * height, 1.1 * height):
                yield _centered((shape.anchor[0], shape.anchor[1] + lift), size), -25.0
            if shape.crop is None:
                for rect in _along_frame(region, size):
                    yield rect, -40.0
        gap = 2 * self._canvas.unit
        x, y = region.center
        for distance in (gap, 4 * gap, 9 * gap, 16 * gap, 26 * gap, 40 * gap, 60 * gap, 90 * gap):
            for step in range(_ANGLES):
                angle = 2 * math.pi * (step + 0.5) / _ANGLES
                across, down = math.cos(angle), math.sin(angle)
                longest = max(abs(across), abs(down))
                reach = (region.width + width) / 2 + distance, (region.height + height) / 2 + distance
                yield _centered((x + across / longest * reach[0], y + down / longest * reach[1]), size), distance
            if distance == gap:
                yield Rect(region.x0, region.y0 - gap - height, region.x0 + width, region.y0 - gap), 0.0

    def _leader(self, shape: Shape, pixels: np.ndarray, rect: Rect, distance: float) -> tuple[Point, Point] | None:
        """A line from the label to the region: to a box's frame, but into a mask, which its box only roughly tells."""
        if distance < 0 or (shape.crop is None and distance <= 2 * self._canvas.unit):
            return None
        if not len(pixels) or min(shape.rect.width, shape.rect.height) < 10 * self._canvas.unit:
            end = shape.rect.grown(3).nearest(rect.center)
            return rect.nearest(end), end
        near = pixels[np.abs(pixels - rect.center).sum(axis=1).argmin()]
        way = np.asarray(shape.anchor) - near
        into = near + way * min(1.0, 7 * self._canvas.unit / max(float(np.hypot(*way)), 1e-6))
        end = float(into[0]), float(into[1])
        return rect.nearest(end), end

    def along(self, path: list[Point], size: tuple[float, float]) -> Rect:
        """The place of a label of `size` on a path, near its middle."""
        best, lowest = _centered(path[len(path) // 2], size), math.inf
        for index, point in enumerate(path):
            off = abs(index / (len(path) - 1) - 0.5)
            if off > 0.35:
                continue
            for lift in (0.0, -size[1] * 0.9, size[1] * 0.9):
                rect = _centered((point[0], point[1] + lift), size)
                cost = self._covering(rect) + 60 * off + abs(lift) * 0.6
                if self._inside(rect) and cost < lowest:
                    best, lowest = rect, cost
        self._take(best)
        return best


def _along_frame(region: Rect, size: tuple[float, float]) -> Iterator[Rect]:
    """Places in the corners of a box and in the middle of its sides, from the left upper corner on."""
    width, height = size
    lefts = region.x0, region.x1 - width, (region.x0 + region.x1 - width) / 2
    tops = region.y0, region.y1 - height, (region.y0 + region.y1 - height) / 2
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            if row != 2 or column != 2:
                yield Rect(left, top, left + width, top + height)


def _sampled(shape: Shape) -> np.ndarray:
    """(K, 2) x, y of some pixels of a mask; none for a box."""
    if shape.crop is None:
        return np.zeros((0, 2))
    step = max(1, max(shape.crop.shape) // 24)
    corner = np.array([shape.rect.x0 + 0.5, shape.rect.y0 + 0.5])
    pixels: np.ndarray = np.argwhere(shape.crop[::step, ::step])[:, ::-1] * step + corner
    return pixels


def _centered(center: Point, size: tuple[float, float]) -> Rect:
    return Rect(center[0] - size[0] / 2, center[1] - size[1] / 2, center[0] + size[0] / 2, center[1] + size[1] / 2)
