"""One structure as a value."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import attrs

__all__ = ["Structure"]


@attrs.frozen(slots=False, cache_hash=True)
class Structure:
    """Objects 0 to n - 1: the number of attributes of each, and the relations as (subject, object) pairs.

    A pair that stands twice has two predicates (parallel relations).
    """

    attributes: tuple[int, ...]
    edges: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> tuple[int, int, int]:
        """(objects, relations, attributes)."""
        return len(self.attributes), len(self.edges), sum(self.attributes)

    @property
    def complexity(self) -> int:
        """Objects + relations + attributes."""
        return sum(self.size)

    @cached_property
    def degrees(self) -> tuple[int, ...]:
        """Relations of each object, going in and out."""
        found = [0] * len(self.attributes)
        for subject, object_ in self.edges:
            found[subject] += 1
            found[object_] += 1
        return tuple(found)

    @property
    def max_degree(self) -> int:
        """The largest number of relations of one object; 0 without objects."""
        return max(self.degrees, default=0)

    @property
    def average_degree(self) -> float:
        """Mean number of relations of an object: 2 relations / objects."""
        return 2 * len(self.edges) / len(self.attributes) if self.attributes else 0.0

    @cached_property
    def components(self) -> int:
        """Weakly connected components; an object without relations is one."""
        leader = list(range(len(self.attributes)))

        def find(node: int) -> int:
            while leader[node] != node:
                leader[node] = node = leader[leader[node]]
            return node

        count = len(leader)
        for subject, object_ in self.edges:
            a, b = find(subject), find(object_)
            if a != b:
                leader[a] = b
                count -= 1
        return count

    @cached_property
    def is_acyclic(self) -> bool:
        """Whether no path along the relations comes back to where it began."""
        waiting = [0] * len(self.attributes)
        for _, object_ in self.edges:
            waiting[object_] += 1
        ready = [node for node, count in enumerate(waiting) if not count]
        done = 0
        while ready:
            node = ready.pop()
            done += 1
            for subject, object_ in self.edges:
                if subject == node:
                    waiting[object_] -= 1
                    if not waiting[object_]:
                        ready.append(object_)
        return done == len(self.attributes)

    @property
    def has_parallel(self) -> bool:
        """Whether some pair has several relations in one direction."""
        return any(a == b for a, b in pairwise(sorted(self.edges)))
