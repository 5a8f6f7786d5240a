"""What stands in a scene: where it is in the world, its looks and its pose.

World: X to the right (0 in the middle), Y up from the ground, D away from the camera (things stand from 1.1 on). One
unit is the width of the picture at D = 1. A point is seen at (1/2 + X/D, horizon + (eye - Y)/D), times the size in
pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from sgforge.testing.scenes._paint import Point, Rgb

__all__ = ["COLOURS", "Camera", "Thing"]

COLOURS: Final[Mapping[str, Rgb]] = {
    "red": (0.84, 0.20, 0.18),
    "orange": (0.95, 0.55, 0.15),
    "yellow": (0.96, 0.82, 0.25),
    "green": (0.24, 0.62, 0.28),
    "blue": (0.20, 0.42, 0.82),
    "purple": (0.54, 0.30, 0.68),
    "pink": (0.94, 0.55, 0.68),
    "white": (0.93, 0.93, 0.91),
    "grey": (0.55, 0.57, 0.60),
    "brown": (0.55, 0.36, 0.20),
}


@attrs.frozen
class Camera:
    """Where the eye is: `size` in pixels, `horizon` as a part of the height, `eye` height, side the light is on."""

    size: int
    horizon: float
    eye: float
    light: int

    def point(self, x: float, y: float, depth: float) -> Point:
        """Pixel coordinates of a point of the world."""
        return (self.size * (0.5 + x / depth), self.size * (self.horizon + (self.eye - y) / depth))


@attrs.frozen
class Thing:
    """One thing: its kind (the label), its extent in the world, looks and pose.

    `x`: middle; `y`: bottom; `depth`: front; `thick`: extent away from the camera. `order`: depth at which a thin
    thing is laid, if not `depth`. `hands`: where a robot's two hands are, relative to (x, y), in its heights.
    `facing`: -1 left, 1 right, 0 the camera. `anchor`: (x, y) relative to (x, y) where a string or a plank ends.
    """

    kind: str
    x: float
    y: float
    depth: float
    width: float
    height: float
    thick: float = 0.0
    colour: str = "grey"
    texture: str = "plain"
    second: str = "white"
    facing: int = 0
    hands: tuple[Point, ...] = ()
    anchor: Point | None = None
    support: int = -1

    def shifted(self, x: float, y: float, depth: float, first: int) -> Thing:
        """The same thing elsewhere; `first` is added to the index of its support."""
        support = self.support + first if self.support >= 0 else self.support
        return attrs.evolve(self, x=self.x + x, y=self.y + y, depth=self.depth + depth, support=support)

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y + self.height

    @property
    def back(self) -> float:
        return self.depth + self.thick
