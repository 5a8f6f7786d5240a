"""Numbered marks for pictures that models look at: thousands of them are drawn in a run, so each must cost little.

The same picture as `draw_marks` makes in what it tells, not in its pixels: outlines of masks are drawn on their crops,
everything once and in the picture's own pixels, and places are weighed for all candidates together. Marks of
neighbouring regions have colours that differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sgforge.draw.canvas import Color, Rect, color_of, ink_on
from sgforge.errors import GraphError
from sgforge.graph import Region
from sgforge.masks import to_crops

__all__ = ["distinct_colors", "mark_regions"]

_CELL: Final = 6  # picture pixels a side of a cell of the grid in which places are weighed
_COARSE: Final = 16  # cells along the longer side in which the point deepest inside a mask is looked for
_INSIDE_SHARE: Final = 0.1  # a mark may lie on its own region only if it covers at most this share of it
_MARK_COST: Final = 60.0
_REGION_COST: Final = 9.0  # for the smallest regions, falling with their size
_HALO: Final = 150  # of 255
_RINGS: Final = (2, 8, 18, 36, 70, 130, 220)  # fine lines from a region's rectangle to a mark beside it
_ANGLES: Final = 12
_COLORS: Final = 24
_NEAR: Final = 0.35  # of the picture's diagonal: regions closer than that are neighbours


@attrs.frozen(eq=False)
class _Shape:
    """A region in picture pixels: `rect`, a point well inside, `area`, and of a mask the `crop` at the rect."""

    index: int
    rect: Rect
    anchor: tuple[float, float]
    area: float
    crop: NDArray[np.bool_] | None


def mark_regions(
    image: Image.Image, regions: Mapping[int, Region], numbers: Mapping[int, int] | None = None, *, scale: float = 1.0
) -> Image.Image:
    """A copy of `image` (RGB) with a numbered mark for each region and the region's outline.

    `numbers` gives the number of each region's mark, by default its index. `scale`: picture pixels per pixel of the
    regions. A region with neither box nor mask is a `GraphError`.
    """
    picture = image.convert("RGB")
    unit = max(1.0, min(picture.size) / 400)
    shapes = _shapes(regions, picture.size, scale)
    colors = distinct_colors([shape.rect for shape in shapes], picture.size)
    line = max(1, round(unit * 1.5))
    picture = _outlined(picture, shapes, colors, line)
    draw = ImageDraw.Draw(picture)
    places = _Places(shapes, picture.size, unit)
    size = max(11, round(min(max(11.0, min(picture.size) / 34), 15 * unit)))
    # Small regions choose first, since large ones have more room; what is drawn last is seen whole.
    chosen = []
    for shape, color in sorted(zip(shapes, colors, strict=True), key=lambda pair: pair[0].area):
        text = str(shape.index if numbers is None else numbers[shape.index])
        chosen.append((places.take(shape, _badge_size(text, size)), shape, color, text))
    for (rect, leads), shape, color, _ in chosen:
        if leads:
            _leader(draw, rect, shape, color, unit)
    for (rect, _), _, color, text in chosen:
        _badge(draw, rect, text, color, size)
    return picture


def distinct_colors(rects: Sequence[Rect], size: tuple[int, int]) -> list[Color]:
    """A colour for each rectangle, far from those of the rectangles near it.

    In order, each takes of 24 colours the one that is farthest (in RGB, weighted as the eye does roughly: 2, 4, 3) from
    those its neighbours have; among equals the first.
    """
    palette = _palette()
    far = np.hypot(*size) * _NEAR
    centers = np.array([rect.center for rect in rects]).reshape(-1, 2)
    taken = np.zeros(len(rects), int)
    for number in range(len(rects)):
        gaps = np.hypot(*(centers[:number] - centers[number]).T)
        near = taken[:number][gaps < far]
        used = np.bincount(taken[:number], minlength=_COLORS)
        apart = _distances()[near].min(axis=0) if len(near) else np.full(_COLORS, 1e3)
        # Near ones decide; where several are as good, the one that is used least anywhere.
        taken[number] = int(np.argmax(np.minimum(apart, 220.0) - 8.0 * used))
    return [palette[number] for number in taken]


@lru_cache(maxsize=1)
def _palette() -> list[Color]:
    return [color_of(index) for index in range(_COLORS)]


@lru_cache(maxsize=1)
def _distances() -> NDArray[np.float64]:
    colors = np.array(_palette(), float) * np.sqrt([2.0, 4.0, 3.0]) / 3
    distances: NDArray[np.float64] = np.sqrt(((colors[:, None] - colors[None]) ** 2).sum(axis=2))
    return distances


def _shapes(regions: Mapping[int, Region], size: tuple[int, int], scale: float) -> list[_Shape]:
    """The shapes of all regions, largest first."""
    masks = {
        index: region.mask
        for index, region in regions.items()
        if region.mask is not None and region.mask.box is not None
    }
    crops = dict(zip(masks, to_crops(list(masks.values())), strict=True))
    shapes = []
    for index, region in regions.items():
        box = masks[index].box if index in masks else region.box
        if box is None:
            raise GraphError(f"region {index} has neither box nor mask: it cannot be drawn")
        sides = [side * scale for side in box]
        x0, x1 = (min(max(side, 0.0), float(size[0])) for side in sides[0::2])
        y0, y1 = (min(max(side, 0.0), float(size[1])) for side in sides[1::2])
        shapes.append(_shape(index, Rect(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)), crops.get(index), size))
    return sorted(shapes, key=lambda shape: -shape.area)


def _shape(index: int, rect: Rect, crop: NDArray[np.bool_] | None, size: tuple[int, int]) -> _Shape:
    if crop is None:
        return _Shape(index=index, rect=rect, anchor=rect.center, area=rect.width * rect.height, crop=None)
    left, top = min(round(rect.x0), size[0] - 1), min(round(rect.y0), size[1] - 1)
    wide, high = max(1, round(rect.x1) - left), max(1, round(rect.y1) - top)
    if crop.shape != (high, wide):
        grey = Image.fromarray(crop.view(np.uint8) * np.uint8(255))
        crop = np.asarray(grey.resize((wide, high), Image.Resampling.BOX)) >= 96
    x, y = _deepest(crop)
    return _Shape(
        index=index,
        rect=Rect(left, top, left + wide, top + high),
        anchor=(left + x, top + y),
        area=float(np.count_nonzero(crop)),
        crop=crop,
    )


def _deepest(crop: NDArray[np.bool_]) -> tuple[float, float]:
    """(x, y) of a pixel about as far from the mask's border as any."""
    step = max(1, -(-max(crop.shape) // _COARSE))
    coarse = crop[::step, ::step]
    if not coarse.any():
        y, x = np.argwhere(crop)[0] if crop.any() else (crop.shape[0] // 2, crop.shape[1] // 2)
        return float(x), float(y)
    grid = np.zeros((coarse.shape[0] + 2, coarse.shape[1] + 2), np.uint8)
    grid[1:-1, 1:-1] = coarse
    # All cells as the bits of one number, which is shrunk in five steps; the margin keeps its sides apart.
    wide = grid.shape[1]
    inside = int.from_bytes(np.packbits(grid, bitorder="little").tobytes(), "little")
    while core := inside & inside << 1 & inside >> 1 & inside << wide & inside >> wide:
        inside = core
    bits = np.frombuffer(inside.to_bytes(-(-grid.size // 8), "little"), np.uint8)
    cells = np.argwhere(np.unpackbits(bits, count=grid.size, bitorder="little").reshape(grid.shape))
    y, x = cells[np.abs(cells - cells.mean(axis=0)).sum(axis=1).argmin()] - 1
    return min(float(x * step), crop.shape[1] - 1.0) + 0.5, min(float(y * step), crop.shape[0] - 1.0) + 0.5


def _outlined(picture: Image.Image, shapes: Sequence[_Shape], colors: Sequence[Color], line: int) -> Image.Image:
    """The picture with the outlines of all regions, each with a halo around it, so that it stands out on any ground."""
    edge = 4 * line + 2
    # With a margin, so that a pen at the frame need not look where the picture ends.
    pixels = np.zeros((picture.height + 2 * edge, picture.width + 2 * edge, 3), np.uint8)
    pixels[edge:-edge, edge:-edge] = np.asarray(picture)
    for shape, color in zip(shapes, colors, strict=True):
        halo = np.array(ink_on(color), np.uint16)
        rect = shape.rect
        is_small = min(rect.width, rect.height) < 5 * line
        if shape.crop is not None and not is_small:
            _contour(pixels, shape, edge, np.array(color, np.uint16), halo, line)
            continue
        # A small one is framed from outside, so that the frame does not cover it.
        out = line + 1 if is_small else 0
        x0, y0, x1, y1 = (round(side) + edge for side in attrs.astuple(rect.grown(out)))
        _frame(pixels, (x0 - line, y0 - line, x1 + line, y1 + line), line, halo, _HALO)
        _frame(pixels, (x0, y0, x1, y1), line, np.array(color, np.uint16), 255)
    return Image.fromarray(pixels[edge:-edge, edge:-edge].copy())


def _contour(
    pixels: NDArray[np.uint8],
    shape: _Shape,
    edge: int,
    color: NDArray[np.uint16],
    halo: NDArray[np.uint16],
    line: int,
) -> None:
    """A round pen along the border of a mask: inside of it in the one colour, outside in the other, half seen through.

    `edge`: the margin of `pixels`.
    """
    assert shape.crop is not None
    pad = line + 1
    # Column by column, as masks are kept.
    solid = np.zeros((shape.crop.shape[1] + 2 * pad, shape.crop.shape[0] + 2 * pad), np.bool_)
    core = solid[pad:-pad, pad:-pad]
    core[...] = shape.crop.T
    inner = core & solid[pad - 1 : -pad - 1, pad:-pad]
    inner &= solid[pad + 1 : 1 - pad, pad:-pad]
    inner &= solid[pad:-pad, pad - 1 : -pad - 1]
    inner &= solid[pad:-pad, pad + 1 : 1 - pad]
    inner ^= core
    across, down = np.divmod(np.flatnonzero(inner), core.shape[1])
    within = (across + pad) * solid.shape[1] + down + pad
    wide = pixels.shape[1]
    corner = (round(shape.rect.y0) + edge - pad) * wide + round(shape.rect.x0) + edge - pad
    flat, flags = pixels.reshape(-1, 3), solid.reshape(-1)
    dx, dy = _pen(line)
    # The pen passes over each pixel many times: what it covers is noted first, and each pixel painted once.
    covered = np.zeros(solid.size, np.bool_)
    dx, dy = _pen(line)
    covered[within[:, None] + (dx * solid.shape[1] + dy)] = True
    covered &= ~flags
    outside = _at(covered, solid.shape[1], corner, wide)
    flat[outside] = _blended(flat[outside], halo, _HALO)
    covered[:] = False
    dx, dy = _pen(line - 1)
    covered[within[:, None] + (dx * solid.shape[1] + dy)] = True
    covered &= flags
    flat[_at(covered, solid.shape[1], corner, wide)] = color


def _at(covered: NDArray[np.bool_], high: int, corner: int, wide: int) -> NDArray[np.int64]:
    """Where in a picture of `wide` columns those pixels lie that are covered in columns of `high` from a corner on."""
    across, down = np.divmod(np.flatnonzero(covered), high)
    places: NDArray[np.int64] = down * wide + across + corner
    return places


@lru_cache(maxsize=8)
def _pen(radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets (dx, dy) of the pixels of a round pen."""
    side = np.arange(-radius, radius + 1)
    dx, dy = (axis.ravel() for axis in np.meshgrid(side, side))
    within = dx**2 + dy**2 <= radius**2
    return dx[within], dy[within]


def _frame(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], line: int, color: NDArray[np.uint16], alpha: int
) -> None:
    high, wide = pixels.shape[:2]
    x0, y0, x1, y1 = box
    sides = ((x0, y0, x1, y0 + line), (x0, y1 - line, x1, y1), (x0, y0 + line, x0 + line, y1 - line))
    for left, top, right, bottom in (*sides, (x1 - line, y0 + line, x1, y1 - line)):
        part = pixels[max(0, top) : max(0, min(high, bottom)), max(0, left) : max(0, min(wide, right))]
        part[...] = _blended(part, color, alpha)


def _blended(under: NDArray[np.uint8], color: NDArray[np.uint16], alpha: int) -> NDArray[np.uint8]:
    mixed = (under.astype(np.uint16) * (255 - alpha) + color * alpha) // 255
    return mixed.astype(np.uint8)


class _Places:
    """Chooses places for marks one after another; what is placed stays free of what comes later."""

    def __init__(self, shapes: Sequence[_Shape], size: tuple[int, int], unit: float) -> None:
        self._size, self._unit = size, unit
        self._cost = np.zeros((-(-size[1] // _CELL), -(-size[0] // _CELL)))
        frame = size[0] * size[1]
        for shape in shapes:
            weight = _REGION_COST / (1 + 600 * shape.area / frame)
            self._cost[self._cells(shape.rect.grown(2 * unit))] += weight
        self._down = np.empty_like(self._cost)
        self._sums = np.zeros((self._cost.shape[0] + 1, self._cost.shape[1] + 1))
        self._sum_up(0)

    def _sum_up(self, first: int) -> None:
        """Sum the cost anew from a row on: above it nothing has changed."""
        down = self._down[first:]
        down[...] = self._cost[first:]
        if first:
            down[:1] += self._down[first - 1]
        np.add.accumulate(down, axis=0, out=down)
        np.add.accumulate(down, axis=1, out=self._sums[first + 1 :, 1:])

    def _cells(self, rect: Rect) -> tuple[slice, slice]:
        return (
            slice(max(0, int(rect.y0 // _CELL)), max(0, math.ceil(rect.y1 / _CELL))),
            slice(max(0, int(rect.x0 // _CELL)), max(0, math.ceil(rect.x1 / _CELL))),
        )

    def take(self, shape: _Shape, size: tuple[float, float]) -> tuple[Rect, bool]:
        """(the place of a region's mark of `size`, whether a line leads to the region)."""
        centers, distances = _candidates(shape, size, self._unit)
        half = np.array(size) / 2
        low, high = centers - half, centers + half
        fits = ((low >= 0) & (high <= self._size)).all(axis=1)
        if not fits.any():  # a picture smaller than the mark
            return Rect(0, 0, *size), False
        low, high, distances = low[fits], high[fits], distances[fits]
        costs = self._covering(low, high) + 0.35 * distances + np.where(distances > 2 * self._unit, 6.0, 0.0)
        best = int(costs.argmin())
        rect = Rect(*(float(side) for side in (*low[best], *high[best])))
        cells = self._cells(rect)
        self._cost[cells] += _MARK_COST
        self._sum_up(cells[0].start)
        return rect, bool(distances[best] > 2 * self._unit or (distances[best] >= 0 and shape.crop is not None))

    def _covering(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cost of what lies under each rectangle."""
        x0, y0 = (low // _CELL).astype(int).T
        x1, y1 = np.ceil(high / _CELL).astype(int).T
        sums = self._sums
        covered: NDArray[np.float64] = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        return covered


def _candidates(
    shape: _Shape, size: tuple[float, float], unit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((K, 2) centres of places worth a look, their distances from the region; negative: on the region itself)."""
    rect, (width, height) = shape.rect, size
    centers: list[NDArray[np.float64]] = []
    distances: list[float] = []
    if width * height <= _INSIDE_SHARE * shape.area and width < rect.width and height < rect.height:
        x, y = shape.anchor
        centers.append(np.array([(x, y), (x, y - 1.1 * height), (x, y + 1.1 * height)]))
        distances += [-30.0, -25.0, -25.0]
        if shape.crop is None:
            corners = [
                (left + width / 2, top + height / 2)
                for top in (rect.y0, rect.y1 - height)
                for left in (rect.x0, rect.x1 - width)
            ]
            centers.append(np.array(corners))
            distances += [-40.0] * 4
    steps = np.array(_RINGS) * unit
    reach = np.array([(rect.width + width) / 2, (rect.height + height) / 2]) + steps[:, None]
    centers.append((np.array(rect.center) + _ring() * reach[:, None]).reshape(-1, 2))
    return np.concatenate(centers), np.concatenate([distances, steps.repeat(_ANGLES)])


@lru_cache(maxsize=1)
def _ring() -> NDArray[np.float64]:
    """Directions whose longer side is 1: points on the frame of a rectangle."""
    angles = 2 * np.pi * (np.arange(_ANGLES) + 0.5) / _ANGLES
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ring: NDArray[np.float64] = around / np.abs(around).max(axis=1, keepdims=True)
    return ring


def _leader(draw: ImageDraw.ImageDraw, rect: Rect, shape: _Shape, color: Color, unit: float) -> None:
    """A line from a mark to its region: into a mask, to the frame of a box."""
    is_small = min(shape.rect.width, shape.rect.height) < 10 * unit
    end = shape.rect.grown(3).nearest(rect.center) if shape.crop is None or is_small else shape.anchor
    start = rect.nearest(end)
    draw.line([start, end], ink_on(color), max(2, round(2.6 * unit)))
    draw.line([start, end], color, max(1, round(1.2 * unit)))
    if shape.crop is not None and not is_small:
        radius = 1.8 * unit
        draw.ellipse((end[0] - radius, end[1] - radius, end[0] + radius, end[1] + radius), color)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=512)
def _badge_size(text: str, size: int) -> tuple[float, float]:
    font = _font(size)
    height = size * 1.25
    return font.getlength(text) + 0.5 * height, height + 1


def _badge(draw: ImageDraw.ImageDraw, rect: Rect, text: str, color: Color, size: int) -> None:
    ink = ink_on(color)
    draw.rounded_rectangle((rect.x0, rect.y0, rect.x1, rect.y1), rect.height / 4, color, ink, 1)
    draw.text(rect.center, text, ink, _font(size), anchor="mm")
