"""A drawing of rectangles, lines, markers and texts, written as SVG or PNG alike: no plotting library is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

import attrs

from sgforge.errors import ConfigError

__all__ = ["SHADES", "Canvas", "Marker", "check_plot"]

Marker = Literal["circle", "square", "triangle", "diamond"]
Anchor = Literal["start", "middle", "end"]
SHADES: Final = ("#1f3b57", "#5a8fbf", "#b9d3e6", "#8a6d3b", "#d9b36c")
"""Fills that differ in lightness as well as in colour, so that they are told apart in grey."""
_SCALE: Final = 2  # pixels of a PNG per unit, sharp in print
_PIL: Final = {"start": "l", "middle": "m", "end": "r"}


def check_plot(path: Path) -> None:
    """Before any work: a `ConfigError` for a path that no plot can be written to."""
    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"a plot is written as .svg or .png, not as {path.name!r}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"plot {path}: the folder {path.parent} does not exist")


@attrs.frozen
class _Rectangle:
    x: float
    y: float
    width: float
    height: float
    fill: str


@attrs.frozen
class _Line:
    points: tuple[tuple[float, float], ...]
    stroke: str
    width: float
    dashes: tuple[int, ...]


@attrs.frozen
class _Polygon:
    points: tuple[tuple[float, float], ...]
    fill: str


@attrs.frozen
class _Text:
    x: float
    y: float
    text: str
    anchor: Anchor
    size: int


@attrs.define
class Canvas:
    """A white page of `width` x `height` units; y grows downwards. Later shapes lie on earlier ones."""

    width: int
    height: int
    _shapes: list[_Rectangle | _Line | _Polygon | _Text] = attrs.field(factory=list, init=False)

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A filled rectangle from its left upper corner."""
        self._shapes.append(_Rectangle(x=x, y=y, width=width, height=height, fill=fill))

    def line(
        self,
        points: Sequence[tuple[float, float]],
        stroke: str = "#000000",
        width: float = 1.0,
        dashes: tuple[int, ...] = (),
    ) -> None:
        """A line through points; `dashes` lengths of drawn and empty parts in turn."""
        if len(points) > 1:
            self._shapes.append(_Line(tuple(points), stroke, width, dashes))

    def marker(self, x: float, y: float, shape: Marker, fill: str, size: float = 3.5) -> None:
        """A small filled shape around a point."""
        corners = {
            "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
            "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
            "triangle": ((0, -1.2), (1.2, 1), (-1.2, 1)),
            "circle": (
                (0, -1.1),
                (0.78, -0.78),
                (1.1, 0),
                (0.78, 0.78),
                (0, 1.1),
                (-0.78, 0.78),
                (-1.1, 0),
                (-0.78, -0.78),
            ),
        }[shape]
        self._shapes.append(_Polygon(tuple((x + size * dx, y + size * dy) for dx, dy in corners), fill))

    def text(self, x: float, y: float, text: str, anchor: Anchor = "start", size: int = 11) -> None:
        """A text whose middle line is at y."""
        self._shapes.append(_Text(x=x, y=y, text=text, anchor=anchor, size=size))

    def write(self, path: Path) -> None:
        """To a file; the suffix is .svg or .png."""
        check_plot(path)
        if path.suffix == ".svg":
            path.write_text(self.svg(), encoding="utf-8")
        else:
            self._png(path)

    def svg(self) -> str:
        """The drawing as SVG."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">'
        )
        page = '<rect width="100%" height="100%" fill="white"/>'
        return "\n".join([head, page, *map(_svg_of, self._shapes), "</svg>", ""])

    def _png(self, path: Path) -> None:
        from PIL import Image, ImageDraw, ImageFont

        image = Image.new("RGB", (self.width * _SCALE, self.height * _SCALE), "white")
        draw: Any = ImageDraw.Draw(image)
        for shape in self._shapes:
            if isinstance(shape, _Rectangle):
                corner = (shape.x + shape.width, shape.y + shape.height)
                if shape.width > 0 and shape.height > 0:
                    draw.rectangle(_scaled([(shape.x, shape.y), corner]), fill=shape.fill)
            elif isinstance(shape, _Polygon):
                draw.polygon(_scaled(shape.points), fill=shape.fill)
            elif isinstance(shape, _Line):
                for part in _dashed(shape):
                    draw.line(_scaled(part), fill=shape.stroke, width=round(shape.width * _SCALE))
            else:
                font = ImageFont.load_default(shape.size * _SCALE)
                place = _scaled([(shape.x, shape.y)])[0]
                draw.text(place, shape.text, fill="black", font=font, anchor=f"{_PIL[shape.anchor]}m")
        image.save(path)


def _scaled(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * _SCALE, y * _SCALE) for x, y in points]


def _svg_of(shape: _Rectangle | _Line | _Polygon | _Text) -> str:
    if isinstance(shape, _Rectangle):
        size = f'width="{shape.width:.2f}" height="{shape.height:.2f}"'
        return f'<rect x="{shape.x:.2f}" y="{shape.y:.2f}" {size} fill="{shape.fill}"/>'
    if isinstance(shape, _Text):
        place = f'x="{shape.x:.2f}" y="{shape.y:.2f}" font-size="{shape.size}" text-anchor="{shape.anchor}"'
        return f'<text {place} dominant-baseline="central">{escape(shape.text)}</text>'
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
    if isinstance(shape, _Polygon):
        return f'<polygon points="{points}" fill="{shape.fill}"/>'
    dashes = f' stroke-dasharray="{" ".join(map(str, shape.dashes))}"' if shape.dashes else ""
    return f'<polyline points="{points}" fill="none" stroke="{shape.stroke}" stroke-width="{shape.width}"{dashes}/>'


def _dashed(line: _Line) -> list[list[tuple[float, float]]]:
    """The drawn pieces of a line; PIL knows no dashes."""
    if not line.dashes:
        return [list(line.points)]
    pieces, place, left = [], 0, float(line.dashes[0])
    for (x0, y0), (x1, y1) in zip(line.points[:-1], line.points[1:], strict=True):
        length, done = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 0.0
        while length - done > 1e-9:
            step = min(left, length - done)
            ends = [(x0 + (x1 - x0) * part / length, y0 + (y1 - y0) * part / length) for part in (done, done + step)]
            if place % 2 == 0:
                pieces.append(ends)
            done, left = done + step, left - step
            if left <= 1e-9:
                place += 1
                left = float(line.dashes[place % len(line.dashes)])
    return pieces
