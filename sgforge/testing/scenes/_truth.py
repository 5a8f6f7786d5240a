"""What holds between the things of a scene, from the world they stand in (not from their pixels).

Put there by the generator: on, under (its inverse), inside, contains, and all that is not spatial. Derived here:

- on (the ground): the thing stands on the ground.
- left of, right of: the extents on the screen are apart (at most a tenth of the narrower one shared), the gap is at
  most 0.2 of the picture, and at least a quarter of the lower one's height is level with the other.
- in front of, behind: one's back is nearer than the other's front, and their screen boxes meet, sharing at least
  three tenths of the narrower one's width; not for things in contact.
- above: the bottom is higher than the other's top, at least half of the narrower one's width is shared, and the depths
  differ by at most 0.25; below is its inverse. Also a table and what is under it.
- next to: both stand on the same thing, depths differ by at most 0.2, and the gap is at most 0.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sgforge.graph import Relation
from sgforge.testing.scenes._comparisons import comparisons
from sgforge.testing.scenes._groups import Fact
from sgforge.testing.scenes._layout import Layout
from sgforge.testing.scenes._paint import Bounds
from sgforge.testing.scenes._things import Thing

__all__ = ["true_relations"]

_CONTACT: Final = frozenset({"on", "under", "inside", "contains", "holding", "tied to", "leaning against"})


def true_relations(layout: Layout, ground: int, size: int, pixel_relations: bool = False) -> tuple[Relation, ...]:
    """Every relation of the scene, each once, ordered by subject, object and predicate.

    `pixel_relations`: those that only pixels tell as well.
    """
    facts = [*_all_facts(layout, ground, size), *(comparisons(layout.things) if pixel_relations else ())]
    found = {(fact.subject, fact.object, fact.predicate): fact for fact in facts}
    return tuple(
        Relation(fact.subject, fact.predicate, fact.object, fact.category) for _, fact in sorted(found.items())
    )


def _all_facts(layout: Layout, ground: int, size: int) -> Iterator[Fact]:
    yield from layout.facts
    contact = {(fact.subject, fact.object) for fact in layout.facts if fact.predicate in _CONTACT}
    for a, thing in enumerate(layout.things):
        if _on_ground(thing):
            yield Fact(a, "on", ground, "spatial")
        for b, other in enumerate(layout.things):
            if a == b:
                continue
            touching = (a, b) in contact or (b, a) in contact
            for predicate, inverse in _spatial(thing, other, layout.bounds[a], layout.bounds[b], size, touching):
                yield Fact(a, predicate, b, "spatial")
                yield Fact(b, inverse, a, "spatial")


def _spatial(
    thing: Thing, other: Thing, box: Bounds, there: Bounds, size: int, touching: bool
) -> Iterator[tuple[str, str]]:
    """(predicate, inverse) of what holds of `thing` towards `other`, in one direction of each pair of inverses."""
    narrower = min(box[2] - box[0], there[2] - there[0])
    shared = min(box[2], there[2]) - max(box[0], there[0])
    level = min(box[3], there[3]) - max(box[1], there[1])
    lower_height = min(box[3] - box[1], there[3] - there[1])
    if _is_left(box, there, narrower, size) and level >= 0.25 * lower_height:
        yield "left of", "right of"
    if not touching and thing.back < other.depth and shared >= 0.3 * narrower and level > 0:
        yield "in front of", "behind"
    near = abs(thing.depth - other.depth)
    if not touching and thing.y > other.top and near <= 0.25 and shared >= 0.5 * narrower:
        yield "above", "below"
    gap = other.left - thing.right
    if _same_support(thing, other) and near <= 0.2 and 0 <= gap <= 0.12:
        yield "next to", "next to"


def _is_left(box: Bounds, there: Bounds, narrower: float, size: int) -> bool:
    overlap = box[2] - there[0]
    return box[0] < there[0] and -0.2 * size <= overlap <= 0.1 * narrower


def _on_ground(thing: Thing) -> bool:
    return thing.y == 0 and thing.support < 0


def _same_support(thing: Thing, other: Thing) -> bool:
    if thing.support < 0 or other.support < 0:
        return _on_ground(thing) and _on_ground(other)
    return thing.support == other.support
