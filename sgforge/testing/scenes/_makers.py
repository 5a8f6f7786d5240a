"""Single things of a scene, each with its middle at X = 0 and standing on the ground, and how a robot may pose."""

from __future__ import annotations

from typing import Final

import attrs

from sgforge.testing.scenes._dice import Dice
from sgforge.testing.scenes._things import COLOURS, Thing

__all__ = [
    "DOWN",
    "apple",
    "ball",
    "balloon",
    "book",
    "bowl",
    "cone",
    "crate",
    "cup",
    "robot",
    "small_ball",
    "small_bowl",
    "small_crate",
    "table",
    "tree",
    "waving",
]

_TEXTURES: Final = ("plain", "plain", "plain", "striped", "dotted", "checked")


def _colours(dice: Dice, *names: str) -> tuple[str, str]:
    """A colour out of `names` (all if none) and another one that can be told from it."""
    first = dice.pick(names or tuple(COLOURS))
    return first, "yellow" if first == "white" else "white"


def ball(dice: Dice, width: float | None = None) -> Thing:
    """A ball; a small one is plain."""
    width = width or dice.between(0.09, 0.19)
    first, second = _colours(dice, "red", "orange", "yellow", "green", "blue", "purple", "pink")
    texture = dice.pick(_TEXTURES) if width > 0.11 else "plain"
    return Thing(
        kind="ball",
        x=0,
        y=0,
        depth=0,
        width=width,
        height=width,
        thick=width * 0.6,
        colour=first,
        texture=texture,
        second=second,
    )


def apple(dice: Dice, width: float | None = None) -> Thing:
    """An apple."""
    width = width or dice.between(0.075, 0.1)
    return Thing(
        kind="apple",
        x=0,
        y=0,
        depth=0,
        width=width,
        height=1.05 * width,
        thick=0.05,
        colour=_colours(dice, "red", "green", "yellow")[0],
    )


def crate(dice: Dice, low: float = 0.14, high: float = 0.24) -> Thing:
    """A crate whose width lies between `low` and `high`."""
    width = dice.between(low, high)
    first, second = _colours(dice, "brown", "orange", "blue", "red", "green", "grey")
    texture = dice.pick(_TEXTURES) if width > 0.15 else "plain"
    return Thing(
        kind="crate",
        x=0,
        y=0,
        depth=0,
        width=width,
        height=width * dice.between(0.7, 1.0),
        thick=0.15,
        colour=first,
        texture=texture,
        second=second,
    )


def cone(dice: Dice) -> Thing:
    """A traffic cone."""
    width = dice.between(0.11, 0.16)
    first, second = _colours(dice, "orange", "red", "yellow")
    return Thing(
        kind="cone",
        x=0,
        y=0,
        depth=0,
        width=width,
        height=1.35 * width,
        thick=0.08,
        colour=first,
        texture=dice.pick(("plain", "striped")),
        second=second,
    )


def cup(dice: Dice) -> Thing:
    """A cup."""
    first, second = _colours(dice)
    return Thing(
        kind="cup",
        x=0,
        y=0,
        depth=0,
        width=dice.between(0.1, 0.13),
        height=0.1,
        thick=0.06,
        colour=first,
        texture="plain",
        second=second,
    )


def book(dice: Dice) -> Thing:
    """A book."""
    first, second = _colours(dice, "red", "blue", "green", "purple", "brown")
    return Thing(
        kind="book",
        x=0,
        y=0,
        depth=0,
        width=dice.between(0.13, 0.17),
        height=0.035,
        thick=0.09,
        colour=first,
        texture="plain",
        second=second,
    )


def bowl(dice: Dice, low: float = 0.2, high: float = 0.28) -> Thing:
    """A bowl whose width lies between `low` and `high`."""
    width = dice.between(low, high)
    first, second = _colours(dice, "blue", "white", "pink", "green", "purple")
    return Thing(
        kind="bowl",
        x=0,
        y=0,
        depth=0,
        width=width,
        height=0.42 * width,
        thick=0.7 * width,
        colour=first,
        texture="plain",
        second=second,
    )


def tree(dice: Dice) -> Thing:
    """A tree."""
    width = dice.between(0.28, 0.36)
    return Thing(
        kind="tree",
        x=0,
        y=0,
        depth=0,
        width=width,
        height=dice.between(0.5, 0.6),
        thick=0.06,
        colour=dice.pick(("green", "green", "orange")),
    )


def table(dice: Dice) -> Thing:
    """A table."""
    first, second = _colours(dice, "brown", "white", "grey", "orange")
    return Thing(
        kind="table",
        x=0,
        y=0,
        depth=0,
        width=dice.between(0.46, 0.58),
        height=dice.between(0.22, 0.28),
        thick=0.3,
        colour=first,
        texture="plain",
        second=second,
    )


def balloon(dice: Dice) -> Thing:
    """A balloon above the ground."""
    width = dice.between(0.1, 0.14)
    first, _ = _colours(dice, "red", "orange", "yellow", "green", "blue", "purple", "pink")
    return Thing(
        kind="balloon", x=0, y=dice.between(0.3, 0.4), depth=0, width=width, height=1.3 * width, thick=0, colour=first
    )


DOWN: Final = ((-0.26, 0.32), (0.26, 0.32))


def robot(dice: Dice, facing: int = 0) -> Thing:
    """A robot that looks left (-1), right (1) or at the viewer (0), its hands down."""
    height = dice.between(0.32, 0.42)
    first, second = _colours(dice, "red", "blue", "green", "yellow", "purple", "orange", "white")
    return Thing(
        kind="robot",
        x=0,
        y=0,
        depth=0,
        width=0.36 * height,
        height=height,
        thick=0.06,
        colour=first,
        texture="plain",
        second=second,
        facing=facing,
        hands=DOWN,
    )


def waving(robot: Thing, side: int) -> Thing:
    """The robot with one hand up: its left in the picture for a negative `side`, else its right."""
    hands = ((-0.34, 0.86), (0.26, 0.32)) if side < 0 else ((-0.26, 0.32), (0.34, 0.86))
    return attrs.evolve(robot, hands=hands, facing=side)


def small_bowl(dice: Dice) -> Thing:
    """A bowl that something else can hold or carry."""
    return bowl(dice, 0.14, 0.16)


def small_ball(dice: Dice) -> Thing:
    """A ball that something else can hold or carry."""
    return ball(dice, dice.between(0.08, 0.1))


def small_crate(dice: Dice) -> Thing:
    """A crate that something else can hold or carry."""
    return crate(dice, 0.11, 0.14)
