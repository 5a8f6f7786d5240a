"""Where the things of a graph stand, so that its relations of place hold: columns, depths, stacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Final

import attrs

from sgforge.graph import SceneGraph
from sgforge.stages import Failure
from sgforge.testing.scenes import STAGED_KINDS, STAGED_TEXTURES

__all__ = ["COLOURS", "PLACES", "Drawn", "laid_out", "looks", "true_places"]

COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "grey", "brown")
_SIZES: Final = {"small": 0.72, "large": 1.25}
_SAME: Final = {
    "striped": "striped",
    "spotted": "dotted",
    "dotted": "dotted",
    "checkered": "checked",
    "checked": "checked",
}
PLACES: Final = (
    "to the left of", "to the right of", "in front of", "behind", "next to", "beside", "on top of", "underneath"
)  # fmt: skip
"""The relations that can be drawn."""
_MOST_STACKS: Final = 7
_CARRIERS: Final = ("table", "crate", "book")
_CARRIED: Final = ("ball", "cup", "apple", "bowl", "book", "cone")


@attrs.frozen(kw_only=True)
class Drawn:
    """One thing as it was drawn: its words, its column and row (0 the nearest), what it stands on (-1 the ground)."""

    label: str
    colour: str | None = None
    texture: str | None = None
    size: str | None = None
    column: int = 0
    row: int = 0
    on: int = -1


def laid_out(graph: SceneGraph) -> list[Drawn] | Failure:
    """The things of a graph in their places, by region; why it cannot be drawn otherwise.

    Reasons: cannot-draw (a kind, attribute, relation or scene attribute that is not drawn, or too many things),
    contradiction (relations of place that no picture can show).
    """
    if graph.attributes:
        return Failure("cannot-draw", f"scene attribute {next(iter(graph.attributes))!r} is not drawn")
    order = list(graph.regions)
    things: list[Drawn] = []
    for index in order:
        thing = _thing(graph.regions[index].label or "", graph.regions[index].attributes)
        if isinstance(thing, Failure):
            return thing
        things.append(thing)
    place = {index: number for number, index in enumerate(order)}
    links = [(place[row.subject], row.predicate, place[row.object]) for row in graph.relations.values()]
    unknown = next((predicate for _, predicate, _ in links if predicate not in PLACES), None)
    if unknown is not None:
        return Failure("cannot-draw", f"relation {unknown!r} is not drawn")
    return _placed(things, links)


def _thing(label: str, attributes: Iterable[str]) -> Drawn | Failure:
    if label not in STAGED_KINDS:
        return Failure("cannot-draw", f"a {label!r} is not drawn; what is: {', '.join(STAGED_KINDS)}")
    found: dict[str, str] = {}
    for word in attributes:
        field = "colour" if word in COLOURS else "texture" if word in _SAME else "size" if word in _SIZES else None
        if field is None or field in found:
            return Failure("cannot-draw", f"attribute {word!r} of a {label!r} is not drawn, or not beside another")
        found[field] = word
    return Drawn(label=label, **found)  # type: ignore[arg-type]


def _placed(things: Sequence[Drawn], links: Sequence[tuple[int, str, int]]) -> list[Drawn] | Failure:
    """Each thing with its column and row: the first order of columns in which all relations hold."""
    carrier: dict[int, int] = {}
    for subject, predicate, object_ in links:
        if predicate in ("on top of", "underneath"):
            upper, lower = (subject, object_) if predicate == "on top of" else (object_, subject)
            if upper in carrier or lower in carrier.values() or not _carries(things[lower].label, things[upper].label):
                return Failure("cannot-draw", f"a {things[upper].label} on a {things[lower].label} is not drawn")
            carrier[upper] = lower
    stacks = [number for number in range(len(things)) if number not in carrier]
    if len(stacks) > _MOST_STACKS or any(number in carrier for number in carrier.values()):
        return Failure("cannot-draw", f"{len(stacks)} stacks of things are not drawn, {_MOST_STACKS} are")
    base = {number: carrier.get(number, number) for number in range(len(things))}
    rows = _ranks(stacks, [(base[a], base[b]) for a, b in _order(links, "in front of", "behind")])
    if rows is None:
        return Failure("contradiction", "things stand in front of each other in a circle")
    for order in permutations(stacks):
        column = {number: place for place, number in enumerate(order)}
        found = [
            attrs.evolve(thing, column=column[base[n]], row=rows[base[n]], on=carrier.get(n, -1))
            for n, thing in enumerate(things)
        ]
        if all(link in true_places(found) for link in links):
            return found
    return Failure("contradiction", "no picture shows all relations of place")


def _carries(lower: str, upper: str) -> bool:
    return lower in _CARRIERS and upper in _CARRIED


def _order(links: Sequence[tuple[int, str, int]], forwards: str, backwards: str) -> list[tuple[int, int]]:
    found = [(a, b) for a, predicate, b in links if predicate == forwards]
    return found + [(b, a) for a, predicate, b in links if predicate == backwards]


def _ranks(nodes: Sequence[int], pairs: Sequence[tuple[int, int]]) -> dict[int, int] | None:
    """The least number of each node such that the first of each pair has a lesser one; None in a circle."""
    ranks = dict.fromkeys(nodes, 0)
    for _ in range(len(nodes) + 1):
        changed = False
        for first, second in pairs:
            if ranks[second] <= ranks[first]:
                ranks[second] = ranks[first] + 1
                changed = True
        if not changed:
            return ranks
    return None


def true_places(things: Sequence[Drawn]) -> frozenset[tuple[int, str, int]]:
    """Every relation of place that the picture shows, as (subject, predicate, object).

    Left and right by columns, in front and behind by rows; next to and beside: neighbouring columns of one row.
    """
    found = set()
    for a, one in enumerate(things):
        for b, other in enumerate(things):
            if a == b:
                continue
            if one.on == b:
                found |= {(a, "on top of", b), (b, "underneath", a)}
            if one.column < other.column:
                found |= {(a, "to the left of", b), (b, "to the right of", a)}
            if one.row < other.row:
                found |= {(a, "in front of", b), (b, "behind", a)}
            if abs(one.column - other.column) == 1 and one.row == other.row and one.on == other.on == -1:
                found |= {(a, "next to", b), (a, "beside", b)}
    return frozenset(found)


def looks(thing: Drawn) -> Mapping[str, object]:
    """How a thing is drawn: kind, colour, texture, scale."""
    texture = _SAME.get(thing.texture or "", "plain")
    assert texture in STAGED_TEXTURES
    return {
        "kind": thing.label,
        "colour": thing.colour or "grey",
        "texture": texture,
        "scale": _SIZES.get(thing.size or "", 1.0),
    }
