"""Structures of any size, drawn without a table: large sparse scenes, dense graphs.

What is drawn is not uniform over structures. With a bound on components a random recursive forest comes first (each
object in random order joins a random earlier one, so few objects are hubs), then relations between random pairs of one
component; without, all relations are random pairs. Directions of an acyclic graph follow a random order of objects
(a graph with many such orders is drawn more often); attributes fall on objects one by one (so an even spread is drawn
more often than its share of structures).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from sgforge.errors import ConfigError
from sgforge_gas.structures.constraints import Constraints, Size, component_counts, most_relations
from sgforge_gas.structures.cores import Kind
from sgforge_gas.structures.dice import Dice
from sgforge_gas.structures.shape import Structure

__all__ = ["draw_directly"]

_TRIES: Final = 60
Pair = tuple[int, int]


def draw_directly(size: Size, constraints: Constraints, kind: Kind, dice: Dice) -> Structure:
    """A structure of this size within the bounds.

    Raises:
        ConfigError: many draws came to a dead end, where hardly any structure of this size keeps the bounds.
    """
    objects, relations, attributes = size
    for attempt in range(_TRIES):
        links = _links(objects, relations, constraints, kind, dice, narrow=attempt > _TRIES // 2)
        if links is not None:
            rank = dice.shuffled(range(objects))
            edges = sorted(_directed(links, rank, kind, dice))
            return Structure(_spread(objects, attributes, dice), tuple(edges))
    raise ConfigError(f"no structure with {objects} objects and {relations} relations was found within {constraints}")


def _spread(objects: int, attributes: int, dice: Dice) -> tuple[int, ...]:
    counts = [0] * objects
    for _ in range(attributes):
        counts[dice.below(objects)] += 1
    return tuple(counts)


@attrs.define
class _Growing:
    """Links between objects as they are laid: pairs without direction, or with one where cycles are allowed."""

    kind: Kind
    cap: int | None
    degree: list[int]
    links: list[Pair] = attrs.field(factory=list)
    there: set[Pair] = attrs.field(factory=set)

    def has_room(self, node: int) -> bool:
        return self.cap is None or self.degree[node] < self.cap

    def lay(self, pair: Pair) -> bool:
        """Lay a link, if it is new (or may be parallel) and both ends have room."""
        if (pair in self.there and not self.kind.parallel) or not all(map(self.has_room, pair)):
            return False
        self.there.add(pair)
        self.links.append(pair)
        for node in pair:
            self.degree[node] += 1
        return True


def _links(
    objects: int, relations: int, constraints: Constraints, kind: Kind, dice: Dice, narrow: bool
) -> list[Pair] | None:
    """So many links, or None where a draw came to a dead end. `narrow`: all but one component are single objects."""
    growing = _Growing(kind, constraints.max_degree, [0] * objects)
    order = dice.shuffled(range(objects))
    if constraints.components is None:
        groups = [order]
    else:
        fitting = [
            parts
            for parts in component_counts(objects, constraints)
            if objects - parts <= relations <= most_relations(objects, parts, constraints.max_degree, kind)
        ]
        grown = _forest(order, dice.pick(fitting), growing, dice, narrow)
        if grown is None:
            return None
        groups = grown
    missing = relations - len(growing.links)
    if missing and not _fill(groups, missing, growing, dice):
        return None
    return growing.links


def _forest(order: list[int], parts: int, growing: _Growing, dice: Dice, narrow: bool) -> list[list[int]] | None:
    """Trees over all objects: the components, or None at a dead end."""
    groups = [[node] for node in order[:parts]]
    for node in order[parts:]:
        groups_open = [group for group in groups if any(map(growing.has_room, group))]
        if not groups_open or not growing.has_room(node):
            return None
        # By its objects, so that each earlier object is as likely as the next.
        group = groups[0] if narrow else groups_open[dice.weighted([len(group) for group in groups_open])]
        free = [other for other in group if growing.has_room(other)]
        if not free:
            return None
        other = dice.pick(free)
        growing.lay((other, node) if not growing.kind.cycles or dice.below(2) else (node, other))
        group.append(node)
    return groups


def _fill(groups: list[list[int]], missing: int, growing: _Growing, dice: Dice) -> bool:
    """Lay further links within components; whether all could be laid."""
    pairs = list(_pairs(groups, growing.kind))
    if growing.kind.parallel:
        for _ in range(50 * missing + 1000):
            if not missing or not pairs:
                break
            missing -= growing.lay(dice.pick(pairs))
        return not missing
    for pair in _in_random_order(pairs, dice):
        if not missing:
            break
        missing -= growing.lay(pair)
    return not missing


def _pairs(groups: list[list[int]], kind: Kind) -> Iterator[Pair]:
    for group in groups:
        for place, one in enumerate(group):
            for other in group[place + 1 :]:
                yield (one, other)
                if kind.cycles:
                    yield (other, one)


def _in_random_order(pairs: list[Pair], dice: Dice) -> Iterator[Pair]:
    """Fisher-Yates, a step for each that is asked for."""
    for start in range(len(pairs)):
        other = start + dice.below(len(pairs) - start)
        pairs[start], pairs[other] = pairs[other], pairs[start]
        yield pairs[start]


def _directed(links: list[Pair], rank: list[int], kind: Kind, dice: Dice) -> Iterator[Pair]:
    """Links as (subject, object): by the random order, or as they were laid where cycles are allowed."""
    for a, b in links:
        yield (a, b) if kind.cycles or rank[a] < rank[b] else (b, a)
