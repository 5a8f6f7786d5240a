"""How each kind of thing is drawn: layers of shapes, seen from the camera."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from sgforge.testing.scenes._brush import Brush
from sgforge.testing.scenes._paint import (
    Bounds,
    Cut,
    Ellipse,
    Layer,
    Paint,
    Polygon,
    Rgb,
    Shadow,
    Stroke,
)
from sgforge.testing.scenes._things import COLOURS, Camera, Thing

__all__ = ["bounds_of", "layers_of"]

_DARK: Final[Rgb] = (0.16, 0.16, 0.19)
_WOOD: Final[Rgb] = (0.50, 0.33, 0.18)


def layers_of(thing: Thing, index: int, ground: int, camera: Camera) -> tuple[Layer, ...]:
    """How `thing` is drawn: its layers, each at its own depth; the farthest casts the shadow."""
    layers = _DRAWN[thing.kind](thing, Brush(thing, index, camera))
    shadow = _shadow(thing, index, ground, camera)
    return (attrs.evolve(layers[0], shadow=shadow), *layers[1:]) if shadow else layers


def bounds_of(thing: Thing, camera: Camera) -> Bounds:
    """The xyxy extent on the screen, in pixels, as if nothing hid it."""
    layers = _DRAWN[thing.kind](thing, Brush(thing, 0, camera, paints=False))
    boxes = [stroke.shape.bounds for layer in layers for stroke in layer.strokes]
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def _shadow(thing: Thing, index: int, ground: int, camera: Camera) -> Shadow | None:
    if thing.kind == "balloon" or (thing.y > 0 and thing.support < 0):
        return None
    middle = thing.depth + thing.thick / 2
    x, y = camera.point(thing.x + 0.12 * thing.width * camera.light, thing.y, middle)
    scale = camera.size / middle
    shape = Ellipse(x, y, 0.66 * thing.width * scale, max(0.16 * thing.width, 0.7 * thing.thick) * scale * 0.5 + 2)
    return Shadow(shape, ground if thing.support < 0 else thing.support)


def _cuboid(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    half, height, front, back = thing.width / 2, thing.height, thing.depth, thing.back
    far = [Stroke(brush.top_face(-half, half, height, front, back), brush.paint(gain=1.16))]
    side = -half if brush.at(-half, 0, front)[0] > brush.at(-half, 0, back)[0] else half
    near_x, far_x = brush.at(side, 0, front)[0], brush.at(side, 0, back)[0]
    if abs(near_x - far_x) > 0.5 and (near_x < far_x) == (side > 0):
        a, b = brush.at(side, height, front), brush.at(side, height, back)
        c, d = brush.at(side, 0, back), brush.at(side, 0, front)
        corners = (a, b, c, d) if side > 0 else (b, a, d, c)
        far.append(Stroke(Polygon(corners), brush.paint(gain=0.72)))
    return (
        brush.layer(back, *far),
        brush.layer(front, Stroke(brush.box(-half, 0, half, height), brush.paint())),
    )


def _crate(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    far, near = _cuboid(thing, brush)
    half, height = thing.width / 2, thing.height
    bar = 0.1 * min(thing.width, height)
    wood = brush.paint(gain=0.78, rgb=COLOURS[thing.colour])
    frame = [
        brush.box(-half, 0, half, bar),
        brush.box(-half, height - bar, half, height),
        brush.box(-half, 0, -half + bar, height),
        brush.box(half - bar, 0, half, height),
    ]
    return far, brush.layer(near.depth, *near.strokes, *(Stroke(shape, wood) for shape in frame))


def _book(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    far, near = _cuboid(thing, brush)
    half, height = thing.width / 2, thing.height
    pages = Stroke(brush.box(-half * 0.94, height * 0.25, half, height * 0.75), brush.paint(rgb=COLOURS["white"]))
    return far, brush.layer(near.depth, *near.strokes, pages)


def _ball(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    radius = thing.width / 2
    return (brush.layer(thing.depth, Stroke(brush.ball(0, radius, radius, radius), brush.paint("ball"))),)


def _apple(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    radius = thing.width / 2
    stem = brush.limb((0, 1.7 * radius), (0.3 * radius, 2.35 * radius), 0.13 * radius)
    leaf = brush.ball(0.6 * radius, 2.2 * radius, 0.4 * radius, 0.2 * radius)
    return (
        brush.layer(
            thing.depth,
            Stroke(stem, brush.paint(rgb=_WOOD)),
            Stroke(leaf, brush.paint(rgb=(0.32, 0.62, 0.22))),
            Stroke(brush.ball(0, 0.92 * radius, radius, 0.92 * radius), brush.paint("ball")),
        ),
    )


def _cone(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    half, height = thing.width / 2, thing.height
    tip, right, left = brush.at(0, height), brush.at(half * 0.78, 0.0), brush.at(-half * 0.78, 0.0)
    foot = brush.box(-half, 0, half, 0.08 * height, 0.02)
    return (
        brush.layer(
            thing.depth,
            Stroke(Polygon((tip, right, left)), brush.paint("column")),
            Stroke(foot, brush.paint(gain=0.85, rgb=COLOURS[thing.colour])),
        ),
    )


def _cup(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    half, height = thing.width / 2, thing.height
    body = half * 0.78
    handle = brush.ball(body * 0.95, 0.55 * height, half - body * 0.9, 0.26 * height)
    hole = brush.ball(body * 0.95, 0.55 * height, (half - body * 0.9) * 0.5, 0.14 * height)
    rim = brush.disc(height, body)
    base = brush.disc(0, body * 0.8)
    (x0, y0), (x1, y1) = (rim.cx - rim.rx, rim.cy), (rim.cx + rim.rx, rim.cy)
    wall = Polygon(((x0, y0), (x1, y1), (base.cx + base.rx, base.cy), (base.cx - base.rx, base.cy)))
    return (
        brush.layer(
            thing.depth,
            Stroke(Cut(handle, brush.at(0, height)[1], hole), brush.paint(gain=0.85)),
            Stroke(base, brush.paint("column", gain=0.8)),
            Stroke(wall, brush.paint("column")),
            Stroke(rim, brush.paint(gain=0.62, rgb=COLOURS[thing.colour])),
        ),
    )


def _bowl(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    half, height = thing.width / 2, thing.height
    rim = brush.disc(height, half)
    base = brush.at(0, 0)[1]
    body = Ellipse(rim.cx, rim.cy, rim.rx, base - rim.cy)
    return (
        brush.layer(thing.back, Stroke(rim, brush.paint(gain=0.55, rgb=COLOURS[thing.colour]))),
        brush.layer(thing.depth, Stroke(Cut(body, rim.cy, rim), brush.paint("column"))),
    )


def _table(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    half, height, front, back = thing.width / 2, thing.height, thing.depth, thing.back
    slab, leg = 0.12 * height, 0.05 * thing.width
    wood = brush.paint(gain=0.8, rgb=COLOURS[thing.colour])
    dark = brush.paint(gain=0.55, rgb=COLOURS[thing.colour])

    def legs(depth: float, paint: Paint) -> list[Stroke]:
        xs = (-half + leg, half - leg)
        return [Stroke(brush.box(x - leg / 2, 0, x + leg / 2, height - slab, depth=depth), paint) for x in xs]

    top = Stroke(brush.top_face(-half, half, height, front, back), brush.paint(gain=1.1))
    edge = Stroke(brush.box(-half, height - slab, half, height, depth=front), wood)
    return (
        brush.layer(back, *legs(back, dark)),
        brush.layer(front + 0.8 * thing.thick, top),
        brush.layer(front, *legs(front, wood), edge),
    )


def _tree(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    half, height = thing.width / 2, thing.height
    trunk = brush.box(-0.14 * thing.width, 0, 0.14 * thing.width, 0.5 * height, 0.02)
    crown = [
        brush.ball(-0.42 * half, 0.58 * height, 0.56 * half, 0.19 * height),
        brush.ball(0.44 * half, 0.56 * height, 0.56 * half, 0.19 * height),
        brush.ball(0, 0.76 * height, 0.72 * half, 0.24 * height),
    ]
    gains = (0.8, 0.76, 0.95)
    leaves = [Stroke(shape, brush.paint("ball", gain=gain)) for shape, gain in zip(crown, gains, strict=True)]
    return (brush.layer(thing.depth, Stroke(trunk, brush.paint("column", rgb=_WOOD)), *leaves),)


def _balloon(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    half, height = thing.width / 2, thing.height
    end = thing.anchor or (0.0, -0.8 * height)
    string = brush.limb((0, 0.04 * height), end, 0.0035)
    body = brush.ball(0, 0.55 * height, half, 0.45 * height)
    knot = brush.ball(0, 0.06 * height, 0.12 * half, 0.05 * height)
    return (
        brush.layer(
            thing.depth,
            Stroke(string, brush.paint(rgb=(0.25, 0.25, 0.28))),
            Stroke(knot, brush.paint(gain=0.8, rgb=COLOURS[thing.colour])),
            Stroke(body, brush.paint("ball")),
        ),
    )


def _plank(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    """A board from its foot at the middle bottom to `anchor`."""
    half = thing.thick / 2
    tip = thing.anchor or (0.0, thing.height)
    length = math.sqrt(tip[0] * tip[0] + tip[1] * tip[1])
    nx, ny = -tip[1] / length * half, tip[0] / length * half
    corners = ((nx, ny), (tip[0] + nx, tip[1] + ny), (tip[0] - nx, tip[1] - ny), (-nx, -ny))
    points = [brush.at(x, max(y + half, 0.0)) for x, y in corners]
    return (brush.layer(thing.depth, Stroke(Polygon(tuple(points)), brush.paint())),)


def _robot(thing: Thing, brush: Brush) -> tuple[Layer, ...]:
    w, h = thing.width, thing.height
    metal, body = brush.paint("column", rgb=COLOURS["grey"]), brush.paint("column")
    near: list[Stroke] = [
        Stroke(brush.box(-0.32 * w, 0, -0.08 * w, 0.3 * h, 0.02), metal),
        Stroke(brush.box(0.08 * w, 0, 0.32 * w, 0.3 * h, 0.02), metal),
        Stroke(brush.limb((0, 0.9 * h), (0, 0.97 * h), 0.012 * h), metal),
        Stroke(brush.ball(0, 0.97 * h, 0.03 * h, 0.03 * h), brush.paint(rgb=COLOURS["red"])),
        Stroke(brush.box(-0.5 * w, 0.26 * h, 0.5 * w, 0.64 * h, 0.05), body),
        Stroke(brush.box(-0.38 * w, 0.66 * h, 0.38 * w, 0.92 * h, 0.04), body),
    ]
    look = 0.15 * w * thing.facing
    for eye in (-0.15 * w, 0.15 * w):
        near.append(Stroke(brush.ball(eye + look, 0.81 * h, 0.1 * w, 0.05 * h), brush.paint(rgb=(1.0, 1.0, 1.0))))
        pupil = brush.ball(eye + look * 1.35, 0.81 * h, 0.05 * w, 0.03 * h)
        near.append(Stroke(pupil, brush.paint(rgb=_DARK)))
    near.append(Stroke(brush.limb((-0.14 * w + look, 0.71 * h), (0.14 * w + look, 0.71 * h), 0.012 * h), metal))
    arms = []
    for side, hand in zip((-1, 1), thing.hands, strict=True):
        shoulder, end = (side * 0.47 * w, 0.56 * h), (hand[0] * h, hand[1] * h)
        arms.append(Stroke(brush.limb(shoulder, end, 0.045 * h), metal))
        arms.append(Stroke(brush.ball(*end, 0.06 * h, 0.06 * h), brush.paint("ball", rgb=COLOURS["grey"])))
    return brush.layer(thing.depth, *near), brush.layer(thing.depth - 0.03, *arms)


_DRAWN: Final[Mapping[str, Callable[[Thing, Brush], tuple[Layer, ...]]]] = {
    "crate": _crate,
    "book": _book,
    "ball": _ball,
    "apple": _apple,
    "cone": _cone,
    "cup": _cup,
    "bowl": _bowl,
    "table": _table,
    "tree": _tree,
    "balloon": _balloon,
    "plank": _plank,
    "robot": _robot,
}
