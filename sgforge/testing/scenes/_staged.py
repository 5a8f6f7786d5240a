"""Scenes by order: things where one says, instead of where dice put them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from sgforge.errors import GraphError
from sgforge.testing.scenes._dice import Dice
from sgforge.testing.scenes._draw import layers_of
from sgforge.testing.scenes._paint import Canvas
from sgforge.testing.scenes._scene import MIN_SIZE, lay_background, paint_background, setting_named
from sgforge.testing.scenes._things import COLOURS, Camera, Thing

__all__ = ["STAGED_KINDS", "STAGED_TEXTURES", "Prop", "staged_scene"]

STAGED_KINDS = {
    "crate": (0.15, 0.13), "ball": (0.13, 0.13), "cone": (0.12, 0.17), "cup": (0.12, 0.11), "book": (0.16, 0.035),
    "apple": (0.10, 0.105), "bowl": (0.16, 0.07), "tree": (0.17, 0.42), "balloon": (0.12, 0.156), "table": (0.2, 0.1),
}  # fmt: skip
"""Kinds of things that can be ordered, with their usual width and height in the world."""
STAGED_TEXTURES = ("plain", "striped", "checked", "dotted")


@attrs.frozen(kw_only=True)
class Prop:
    """One ordered thing: its kind, its middle on the screen as a part of the width, its depth (from 1.1), its looks.

    `scale`: of its usual extent. `on`: the place in the list of what it stands on, -1 for the ground.
    """

    kind: str
    across: float
    depth: float
    colour: str = "grey"
    texture: str = "plain"
    scale: float = 1.0
    on: int = -1


def staged_scene(
    props: Sequence[Prop], size: int = 128, setting: str = "room"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """The picture (S, S, 3) uint8 RGB, and the mask (N, S, S) of what is seen of each thing.

    Raises:
        GraphError: a kind, colour, texture or setting that there is not, or a size below 64 pixels.
    """
    if size < MIN_SIZE:
        raise GraphError(f"a scene of {size} pixels is too small to show anything: use {MIN_SIZE} or more")
    camera = Camera(size, 0.3, 0.65, 1)
    things: list[Thing] = []
    for prop in props:
        things.append(_thing(prop, things))
    canvas = Canvas(size, len(things) + 2)
    background = lay_background(canvas, len(things), Dice(0), camera)
    canvas.lay([layer for index, thing in enumerate(things) for layer in layers_of(thing, index, len(things), camera)])
    paint_background(canvas, background, camera, setting_named(setting))
    canvas.paint()
    return canvas.image(), canvas.owner[None] == np.arange(len(things), dtype=np.int16)[:, None, None]


def _thing(prop: Prop, things: Sequence[Thing]) -> Thing:
    for value, known, what in (
        (prop.kind, STAGED_KINDS, "kind"),
        (prop.colour, COLOURS, "colour"),
        (prop.texture, STAGED_TEXTURES, "texture"),
    ):
        if value not in known:
            raise GraphError(f"no {what} {value!r} of things can be drawn; there are {', '.join(known)}")
    width, height = (extent * prop.scale for extent in STAGED_KINDS[prop.kind])
    floats = prop.kind == "balloon" and prop.on < 0
    return Thing(
        kind=prop.kind,
        x=(prop.across - 0.5) * prop.depth,
        y=things[prop.on].top if prop.on >= 0 else 0.32 if floats else 0.0,
        depth=prop.depth,
        width=width,
        height=height,
        thick=0.0 if prop.kind in ("balloon", "tree", "ball", "apple", "cup", "cone") else 0.5 * width,
        colour=prop.colour,
        texture=prop.texture,
        second="grey" if prop.colour == "white" else "white",
        support=prop.on,
    )
