"""Where groups of things stand: placed on the ground without collisions, none hiding another too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from sgforge.testing.scenes._dice import Dice
from sgforge.testing.scenes._draw import bounds_of
from sgforge.testing.scenes._groups import GROUPS, Fact, Group
from sgforge.testing.scenes._paint import Bounds
from sgforge.testing.scenes._things import Camera, Thing

__all__ = ["Layout", "lay_out"]

_TRIES: Final = 30
_HIDDEN: Final = 0.45
"""A thing whose screen box would be covered more than this by another group is not placed there."""


@attrs.frozen
class Layout:
    """All things of a scene, their facts, and their extents on the screen in pixels."""

    things: tuple[Thing, ...]
    facts: tuple[Fact, ...]
    bounds: tuple[Bounds, ...]


def lay_out(dice: Dice, camera: Camera, *, outdoors: bool) -> Layout:
    """Three to six groups on the ground, far ones smaller, none standing in another; trees only outdoors."""
    placed: list[_Placed] = []
    wanted = dice.whole(3, 6)
    for _ in range(3 * wanted):
        if len(placed) == wanted:
            break
        group = dice.pick(GROUPS)(dice)
        if not outdoors and any(thing.kind == "tree" for thing in group.things):
            continue
        spot = _find_spot(dice, camera, group, placed)
        if spot is not None:
            placed.append(spot)
    things: list[Thing] = []
    facts: list[Fact] = []
    for spot in placed:
        first = len(things)
        facts += [attrs.evolve(f, subject=f.subject + first, object=f.object + first) for f in spot.facts]
        things += [thing.shifted(0, 0, 0, first) for thing in spot.things]
    return Layout(tuple(things), tuple(facts), tuple(box for spot in placed for box in spot.bounds))


@attrs.frozen
class _Placed:
    """A group at its spot; supports still count within the group. `x0`, `x1`: its footprint."""

    things: tuple[Thing, ...]
    facts: tuple[Fact, ...]
    bounds: tuple[Bounds, ...]
    x0: float
    x1: float

    @property
    def front(self) -> float:
        return min(thing.depth for thing in self.things)

    @property
    def back(self) -> float:
        return max(thing.back for thing in self.things)


def _find_spot(dice: Dice, camera: Camera, group: Group, placed: Sequence[_Placed]) -> _Placed | None:
    for _ in range(_TRIES):
        depth = dice.between(1.1, 1.9)
        x = dice.between(-0.46, 0.46) * depth
        things = tuple(thing.shifted(x, 0, depth, 0) for thing in group.things)
        bounds = _bounds_in_frame(things, camera)
        if bounds is None:
            continue
        x0 = (min(b[0] for b in bounds) / camera.size - 0.5) * depth
        x1 = (max(b[2] for b in bounds) / camera.size - 0.5) * depth
        spot = _Placed(things=things, facts=group.facts, bounds=bounds, x0=x0, x1=x1)
        if all(_apart(spot, other) for other in placed):
            return spot
    return None


def _bounds_in_frame(things: Sequence[Thing], camera: Camera) -> tuple[Bounds, ...] | None:
    """The bounds of all things, None as soon as one reaches out of the picture."""
    edge = 0.01 * camera.size
    bounds = []
    for thing in things:
        x0, y0, x1, y1 = box = bounds_of(thing, camera)
        if min(x0, y0) < edge or max(x1, y1) > camera.size - edge:
            return None
        bounds.append(box)
    return tuple(bounds)


def _apart(a: _Placed, b: _Placed) -> bool:
    """Whether the two groups do not collide and neither hides a thing of the other too much."""
    together = a.front - 0.08 < b.back and b.front - 0.08 < a.back
    if together and a.x0 - 0.015 < b.x1 and b.x0 - 0.015 < a.x1:
        return False
    near, far = (a, b) if a.front < b.front else (b, a)
    return all(sum(_covered(box, other) for other in near.bounds) < _HIDDEN for box in far.bounds)


def _covered(box: Bounds, other: Bounds) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0) / ((box[2] - box[0]) * (box[3] - box[1]))
