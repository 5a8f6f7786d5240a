"""What structures are asked for, and whether any can be like that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import attrs

from sgforge.errors import ConfigError
from sgforge_gas.structures.cores import Kind

__all__ = ["Constraints", "Size", "Span", "component_counts", "is_feasible", "most_relations"]

Size = tuple[int, int, int]
"""(objects, relations, attributes)."""
_MOST_SIZES: Final = 1_000_000


@attrs.frozen
class Span:
    """From `least` to `most`, both allowed."""

    least: float
    most: float

    @classmethod
    def of(cls, given: tuple[float, ...], name: str) -> Span | None:
        """One number, two (least and most), or none for no bound; anything else is a `ConfigError`."""
        if not given:
            return None
        if len(given) > 2 or given[0] > given[-1] or given[0] < 0:
            raise ConfigError(f"{name} must be one number from 0 or two, the lesser first, not {list(given)}")
        return cls(given[0], given[-1])

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most

    def __str__(self) -> str:
        return f"{self.least:g}" if self.least == self.most else f"{self.least:g} to {self.most:g}"

    @property
    def whole(self) -> range:
        """The whole numbers in it."""
        return range(int(self.least), int(self.most) + 1)


@attrs.frozen(kw_only=True)
class Constraints:
    """Bounds on structures; None is no bound.

    `components`: weakly connected ones. `max_degree`: no object has more relations. `average_degree`: of
    2 relations / objects. The paper (section 3) names complexity, average degree and components.
    """

    complexity: Span | None = None
    objects: Span | None = None
    relations: Span | None = None
    attributes: Span | None = None
    components: Span | None = None
    average_degree: Span | None = None
    max_degree: int | None = None

    def given(self) -> dict[str, str]:
        """The bounds that are set, by name, as texts."""
        values = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        return {name: str(value) for name, value in values.items() if value is not None}

    def allow_size(self, size: Size) -> bool:
        """Whether a structure of this size may be meant."""
        objects, relations, attributes = size
        checks = (
            (self.complexity, sum(size)),
            (self.objects, objects),
            (self.relations, relations),
            (self.attributes, attributes),
            (self.average_degree, 2 * relations / objects),
        )
        return all(span is None or value in span for span, value in checks)

    def sizes(self, kind: Kind) -> list[Size]:
        """Every size within the bounds that some structure has, ascending.

        Raises:
            ConfigError: there is none (it names the bounds), or so many that a draw over them makes no sense.
        """
        found: list[Size] = []
        for size in self._candidates():
            if self.allow_size(size) and is_feasible(size, self, kind):
                found.append(size)
            if len(found) > _MOST_SIZES:
                raise ConfigError(f"more than {_MOST_SIZES:,} sizes fit {self}: bound objects, relations, attributes")
        if not found:
            raise ConfigError(self._refusal(kind))
        return found

    def _candidates(self) -> Iterator[Size]:
        most = None if self.complexity is None else int(self.complexity.most)
        for objects in _range(self.objects, 1, most, "objects"):
            left = None if most is None else most - objects
            for relations in _range(self.relations, 0, left, "relations"):
                rest = None if left is None else left - relations
                yield from ((objects, relations, n) for n in _range(self.attributes, 0, rest, "attributes"))

    def _refusal(self, kind: Kind) -> str:
        """Which bounds cannot be met together: the smallest set of them that is already empty."""
        given = self.given()
        for name in given:
            if name in ("complexity", "objects"):
                continue
            without = attrs.evolve(self, **{name: None})
            try:
                fits = any(without.allow_size(s) and is_feasible(s, without, kind) for s in without._candidates())
            except ConfigError:
                continue
            if fits:
                others = ", ".join(f"{other} {text}" for other, text in given.items() if other != name)
                return f"no structure has {name} {given[name]} with {others or 'the other bounds'}"
        return f"no structure has {', '.join(f'{name} {text}' for name, text in given.items())}"

    def __str__(self) -> str:
        return ", ".join(f"{name} {text}" for name, text in self.given().items()) or "no bound"


def _range(span: Span | None, least: int, most: int | None, name: str) -> range:
    if span is None and most is None:
        raise ConfigError(f"{name} have no bound: give {name} or complexity")
    low = least if span is None else max(least, int(-(-span.least // 1)))
    high = most if span is None else int(span.most) if most is None else min(int(span.most), most)
    assert high is not None
    return range(low, high + 1)


def is_feasible(size: Size, constraints: Constraints, kind: Kind) -> bool:
    """Whether some structure of this size keeps the bounds on components and degree."""
    objects, relations, _ = size
    if objects < 1:
        return False
    cap = constraints.max_degree
    # The most relations fall as components rise, the fewest too: each number of components is looked at.
    return any(
        _fewest_fit(objects, parts, cap) and objects - parts <= relations <= most_relations(objects, parts, cap, kind)
        for parts in component_counts(objects, constraints)
    )


def component_counts(objects: int, constraints: Constraints) -> range:
    """The numbers of components that so many objects may fall into."""
    span = constraints.components
    if span is None:
        return range(1, objects + 1)
    return range(max(1, int(-(-span.least // 1))), min(objects, int(span.most)) + 1)


def _fewest_fit(objects: int, parts: int, cap: int | None) -> bool:
    """Whether a forest of so many trees can keep the degree: paths need 2, pairs 1."""
    if cap is None or cap >= 2:
        return True
    return objects == parts if cap == 0 else objects <= 2 * parts


@lru_cache(maxsize=100_000)
def most_relations(objects: int, parts: int, cap: int | None, kind: Kind) -> int:
    """The most relations that `objects` in `parts` connected components can have."""
    if cap is None:
        if kind.parallel:
            return 10**9 if objects > parts else 0
        left = objects - parts + 1
        return left * (left - 1) // (1 if kind.cycles else 2)
    if kind.parallel:
        return objects * cap // 2 if objects > parts else 0
    return _most_by_sizes(objects, parts, cap, kind.cycles)


@lru_cache(maxsize=100_000)
def _most_by_sizes(objects: int, parts: int, cap: int, cycles: bool) -> int:
    """The most under a cap on degrees, over all ways to split the objects: one split off, then the rest."""
    if parts == 1:
        return min(objects * (objects - 1) // (1 if cycles else 2), objects * cap // 2)
    best = 0
    for first in range(1, objects // parts + 1):
        if first > cap + 1:
            best = max(best, objects * cap // 2 - parts)  # enough for any: what is drawn is looked at again
            break
        best = max(
            best, _most_by_sizes(first, 1, cap, cycles) + _most_by_sizes(objects - first, parts - 1, cap, cycles)
        )
    return best
