"""The brush of one thing: strokes and layers from its own world coordinates."""

from __future__ import annotations

from typing import Final

import attrs

from sgforge.testing.scenes._paint import Capsule, Ellipse, Layer, Paint, Point, Polygon, Rgb, RoundBox, Shape, Stroke
from sgforge.testing.scenes._things import COLOURS, Camera, Thing

__all__ = ["Brush"]

_ANY: Final = Paint((0.0, 0.0, 0.0))


@attrs.frozen
class Brush:
    """Makes strokes and layers of one thing, in world coordinates relative to the thing's middle bottom.

    One that does not paint is quicker: its strokes have the right shapes in any colour.
    """

    thing: Thing
    index: int
    camera: Camera
    paints: bool = True

    def paint(self, relief: str = "flat", gain: float = 1.0, rgb: Rgb | None = None) -> Paint:
        """The thing's own paint, or a plain one of another colour."""
        if not self.paints:
            return _ANY
        if rgb is not None:
            return Paint(rgb, relief=relief, gain=gain, light=self.camera.light)
        thing = self.thing
        scale = self.camera.size / thing.depth
        period = max(5.0, min(thing.width, thing.height) * scale / 3)
        base, second = COLOURS[thing.colour], COLOURS[thing.second]
        return Paint(
            base=base,
            second=second,
            texture=thing.texture,
            relief=relief,
            gain=gain,
            period=period,
            light=self.camera.light,
        )

    def at(self, x: float, y: float, depth: float | None = None) -> Point:
        """Pixel coordinates of a point given from the thing's middle bottom."""
        thing = self.thing
        return self.camera.point(thing.x + x, thing.y + y, thing.depth if depth is None else depth)

    def scale(self, depth: float | None = None) -> float:
        """Pixels a unit."""
        return self.camera.size / (self.thing.depth if depth is None else depth)

    def box(self, x0: float, y0: float, x1: float, y1: float, radius: float = 0.0, depth: float | None = None) -> Shape:
        """A rectangle that faces the camera."""
        (left, top), (right, bottom) = self.at(x0, y1, depth), self.at(x1, y0, depth)
        return RoundBox(x0=left, y0=top, x1=right, y1=bottom, radius=radius * self.scale(depth))

    def ball(self, x: float, y: float, rx: float, ry: float) -> Ellipse:
        """An ellipse around (x, y)."""
        cx, cy = self.at(x, y)
        return Ellipse(cx, cy, rx * self.scale(), ry * self.scale())

    def disc(self, y: float, radius: float) -> Ellipse:
        """A round horizontal face at height `y`, centred between front and back."""
        thing = self.thing
        middle = thing.depth + thing.thick / 2
        cx, _ = self.at(0, y, middle)
        front, back = self.at(0, y)[1], self.at(0, y, thing.back)[1]
        return Ellipse(cx, (front + back) / 2, radius * self.scale(middle), max(abs(front - back) / 2, 1.0))

    def limb(self, a: Point, b: Point, radius: float) -> Capsule:
        """A thick line between two points."""
        (ax, ay), (bx, by) = self.at(*a), self.at(*b)
        return Capsule(ax=ax, ay=ay, bx=bx, by=by, radius=radius * self.scale())

    def top_face(self, x0: float, x1: float, y: float, depth: float, back: float) -> Shape:
        """The horizontal face of a cuboid."""
        return Polygon(
            (self.at(x0, y, back), self.at(x1, y, back), self.at(x1, y, depth), self.at(x0, y, depth)),
        )

    def layer(self, depth: float, *strokes: Stroke) -> Layer:
        """Strokes at one depth."""
        return Layer(self.index, depth, strokes)
