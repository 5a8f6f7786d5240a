"""Shapes as distances, paints as colours, and a canvas that keeps who owns each pixel and how far it is.

Only +, -, *, /, sqrt, floor and comparisons touch a pixel: these are exact to the last bit everywhere, so a scene is
the same on every platform. Coordinates are pixels, x to the right, y down, pixel centres at +0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bounds: TypeAlias = tuple[float, float, float, float]
Rgb: TypeAlias = tuple[float, float, float]
Point: TypeAlias = tuple[float, float]


class Shape(Protocol):
    """A set of points: `distance` is negative inside, positive outside, about one a pixel near the edge."""

    @property
    def bounds(self) -> Bounds: ...

    def distance(self, x: Floats, y: Floats) -> Floats: ...


@attrs.frozen
class Ellipse:
    """Axis-parallel ellipse."""

    cx: float
    cy: float
    rx: float
    ry: float

    @property
    def bounds(self) -> Bounds:
        return (self.cx - self.rx, self.cy - self.ry, self.cx + self.rx, self.cy + self.ry)

    def distance(self, x: Floats, y: Floats) -> Floats:
        u, v = (x - self.cx) / self.rx, (y - self.cy) / self.ry
        value = u * u + v * v - 1
        slope = 2 * np.sqrt((u / self.rx) ** 2 + (v / self.ry) ** 2)
        result: Floats = (value / (slope + np.float32(1e-6))).astype(np.float32)
        return result


@attrs.frozen
class Polygon:
    """Convex polygon, corners clockwise on the screen."""

    points: tuple[Point, ...]

    @property
    def bounds(self) -> Bounds:
        xs, ys = [p[0] for p in self.points], [p[1] for p in self.points]
        return (min(xs), min(ys), max(xs), max(ys))

    def distance(self, x: Floats, y: Floats) -> Floats:
        worst: Any = np.float32(-1e9)
        for (ax, ay), (bx, by) in zip(self.points, (*self.points[1:], self.points[0]), strict=True):
            dx, dy = bx - ax, by - ay
            length = math.sqrt(dx * dx + dy * dy)
            if length:
                worst = np.maximum(worst, (x - ax) * (dy / length) - (y - ay) * (dx / length))
        result: Floats = worst
        return result


@attrs.frozen
class Capsule:
    """A thick line with round ends."""

    ax: float
    ay: float
    bx: float
    by: float
    radius: float

    @property
    def bounds(self) -> Bounds:
        r = self.radius
        return (
            min(self.ax, self.bx) - r,
            min(self.ay, self.by) - r,
            max(self.ax, self.bx) + r,
            max(self.ay, self.by) + r,
        )

    def distance(self, x: Floats, y: Floats) -> Floats:
        dx, dy = self.bx - self.ax, self.by - self.ay
        along = ((x - self.ax) * dx + (y - self.ay) * dy) / (dx * dx + dy * dy + 1e-6)
        along = np.minimum(np.maximum(along, 0), 1)
        away = np.sqrt((x - self.ax - along * dx) ** 2 + (y - self.ay - along * dy) ** 2)
        result: Floats = (away - self.radius).astype(np.float32)
        return result


@attrs.frozen
class RoundBox:
    """Axis-parallel rectangle with rounded corners."""

    x0: float
    y0: float
    x1: float
    y1: float
    radius: float = 0.0

    @property
    def bounds(self) -> Bounds:
        return (self.x0, self.y0, self.x1, self.y1)

    def distance(self, x: Floats, y: Floats) -> Floats:
        r = min(self.radius, (self.x1 - self.x0) / 2, (self.y1 - self.y0) / 2)
        qx = np.abs(x - (self.x0 + self.x1) / 2) - ((self.x1 - self.x0) / 2 - r)
        qy = np.abs(y - (self.y0 + self.y1) / 2) - ((self.y1 - self.y0) / 2 - r)
        outside = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
        result: Floats = outside + np.minimum(np.maximum(qx, qy), 0) - r
        return result


@attrs.frozen
class Cut:
    """Shape `body` below the line y = `top`, without the shape `hole`."""

    body: Shape
    top: float
    hole: Shape

    @property
    def bounds(self) -> Bounds:
        x0, y0, x1, y1 = self.body.bounds
        return (x0, max(y0, self.top), x1, y1)

    def distance(self, x: Floats, y: Floats) -> Floats:
        body = np.maximum(self.body.distance(x, y), self.top - y)
        result: Floats = np.maximum(body, -self.hole.distance(x, y))
        return result


@attrs.frozen
class Paint:
    """How a shape is coloured: a base colour, a second one for the texture, and how light falls on it.

    `texture`: plain, striped, dotted or checked, with period `period` in pixels. `relief`: flat, ball or column.
    `gain`: overall brightness of this face. `light`: +1 light from the left, -1 from the right.
    """

    base: Rgb
    second: Rgb = (1.0, 1.0, 1.0)
    texture: str = "plain"
    relief: str = "flat"
    gain: float = 1.0
    period: float = 8.0
    light: int = 1

    def colours(self, x: Floats, y: Floats, bounds: Bounds) -> Floats:
        """(h, w, 3) colours of the pixels at columns `x` (1, w) and rows `y` (h, 1)."""
        x0, y0, x1, y1 = bounds
        u = (2 * x - (x0 + x1)) / max(x1 - x0, 1e-3)
        v = (2 * y - (y0 + y1)) / max(y1 - y0, 1e-3)
        light, shine = self._light(u, v)
        base = np.array(self.base, np.float32)
        if self.texture == "plain":
            colour = np.broadcast_to(base, (*np.broadcast_shapes(x.shape, y.shape), 3))
        else:
            pick = self._pattern(x - np.float32(x0), y - np.float32(y0))[..., None]
            colour = np.where(pick, np.array(self.second, np.float32), base)
        result: Floats = colour * (light * np.float32(self.gain))[..., None] + shine[..., None]
        return result

    def _light(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        u = u * np.float32(self.light)
        shape = np.broadcast_shapes(u.shape, v.shape)
        dark = np.zeros(shape, np.float32)
        if self.relief == "ball":
            height = np.sqrt(np.maximum(1 - u * u - v * v, 0))
            lit = np.maximum(0.55 * height - 0.45 * u - 0.55 * v, -0.25)
            spot = np.maximum(1 - ((u + 0.38) ** 2 + (v + 0.42) ** 2) * 9, 0)
            return (0.62 + 0.5 * lit).astype(np.float32), (0.45 * spot * spot).astype(np.float32)
        if self.relief == "column":
            lit = 1.04 - 0.3 * (u + 0.35) ** 2
            return np.broadcast_to(lit, shape).astype(np.float32), dark
        return np.broadcast_to(1.03 - 0.07 * v - 0.04 * u, shape).astype(np.float32), dark

    def _pattern(self, x: Floats, y: Floats) -> Bools:
        half = np.float32(self.period / 2)
        row, column = np.floor(y / half), np.floor(x / half)
        if self.texture == "striped":
            result = np.broadcast_to(row % 2 == 1, np.broadcast_shapes(x.shape, y.shape))
        elif self.texture == "checked":
            result = (row + column) % 2 == 1
        else:
            across, down = x % np.float32(self.period) - half, y % np.float32(self.period) - half
            result = across * across + down * down < (half * np.float32(0.62)) ** 2
        return result


@attrs.frozen
class Stroke:
    """One painted shape of a thing."""

    shape: Shape
    paint: Paint


@attrs.frozen
class Shadow:
    """A soft dark spot that falls on thing `on` only, laid before the thing that casts it."""

    shape: Ellipse
    on: int


@attrs.frozen
class Layer:
    """Strokes of one thing, all at one depth."""

    thing: int
    depth: float
    strokes: tuple[Stroke, ...]
    shadow: Shadow | None = None


class Canvas:
    """Colour, owner and depth of every pixel, and the full outline of every thing as if nothing hid it.

    `rgb` (H, W, 3) float32 in [0, 1]; `owner` (H, W) int16, the index of the thing seen there; `depth` (H, W) float32.
    Layers are laid, which settles all but the colours, and then painted: what is laid may be given up unpainted.
    """

    def __init__(self, size: int, things: int) -> None:
        self.size = size
        self.rgb = np.zeros((size, size, 3), np.float32)
        self.owner = np.zeros((size, size), np.int16)
        self.depth = np.zeros((size, size), np.float32)
        self.full = np.zeros((things, size, size), np.bool_)
        self._axis = np.arange(size, dtype=np.float32) + np.float32(0.5)
        self._coats: list[Callable[[], None]] = []

    def lay(self, layers: Sequence[Layer]) -> None:
        """Owner, depth and outlines under all layers, the farthest first."""
        for layer in sorted(layers, key=lambda layer: -layer.depth):
            if layer.shadow is not None:
                self._lay_shadow(layer.shadow)
            for stroke in layer.strokes:
                self._lay(stroke, layer)

    def paint(self) -> None:
        """Colour what was laid, in its order."""
        for coat in self._coats:
            coat()
        self._coats.clear()

    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        levels: Floats = np.clip(self.rgb, 0, 1) * np.float32(255) + np.float32(0.5)
        return levels.astype(np.uint8)

    def _window(self, bounds: Bounds) -> tuple[slice, slice] | None:
        x0, y0 = (max(int(value) - 2, 0) for value in bounds[:2])
        x1, y1 = (min(int(value) + 3, self.size) for value in bounds[2:])
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None

    def _lay(self, stroke: Stroke, layer: Layer) -> None:
        window = self._window(stroke.shape.bounds)
        if window is None:
            return
        x, y = self._axis[None, window[1]], self._axis[window[0], None]
        distance = stroke.shape.distance(x, y).astype(np.float32)
        inside = distance < 0
        self.owner[window][inside] = layer.thing
        self.depth[window][inside] = layer.depth
        self.full[layer.thing][window] |= inside
        self._coats.append(partial(self._coat, stroke, window, distance))

    def _coat(self, stroke: Stroke, window: tuple[slice, slice], distance: Floats) -> None:
        x, y = self._axis[None, window[1]], self._axis[window[0], None]
        alpha = np.clip(np.float32(0.5) - distance, 0, 1)
        # A thin dark rim sets things off from what is behind them.
        rim = 1 - np.float32(0.28) * np.clip(1 + distance / np.float32(1.8), 0, 1)
        colour = stroke.paint.colours(x, y, stroke.shape.bounds) * rim[..., None]
        area = self.rgb[window]
        area += (colour - area) * alpha[..., None]

    def _lay_shadow(self, shadow: Shadow) -> None:
        window = self._window(shadow.shape.bounds)
        if window is not None:
            self._coats.append(partial(self._shade, shadow.shape, window, self.owner[window] == shadow.on))

    def _shade(self, shape: Ellipse, window: tuple[slice, slice], falls: Bools) -> None:
        x, y = self._axis[None, window[1]], self._axis[window[0], None]
        reach = ((x - shape.cx) / shape.rx) ** 2 + ((y - shape.cy) / shape.ry) ** 2
        falloff = np.maximum(1 - reach, 0) * falls
        self.rgb[window] *= (1 - np.float32(0.5) * falloff * (2 - falloff)).astype(np.float32)[..., None]
