"""Structures by brute force: every labelled one, and a canonical form by trying all orders of the objects."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, combinations_with_replacement, permutations, product

Graph = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


def compositions(objects: int, total: int) -> Iterator[tuple[int, ...]]:
    """All ways to give so many attributes to so many objects."""
    return (row for row in product(range(total + 1), repeat=objects) if sum(row) == total)


def is_acyclic(objects: int, edges: tuple[tuple[int, int], ...]) -> bool:
    """Whether some order of the objects lets all relations point forwards."""
    return any(
        all(order.index(subject) < order.index(object_) for subject, object_ in edges)
        for order in permutations(range(objects))
    )


def canonical(graph: Graph) -> Graph:
    """The least of all forms of a graph."""
    attributes, edges = graph
    found = []
    for order in permutations(range(len(attributes))):
        moved = tuple(attributes[order.index(node)] for node in range(len(attributes)))
        found.append((moved, tuple(sorted((order[a], order[b]) for a, b in edges))))
    return min(found)


def structures(complexity: int, *, cycles: bool = False, parallel: bool = False) -> set[Graph]:
    """All structures of a complexity, each in its canonical form."""
    found = set()
    for objects in range(1, complexity + 1):
        pairs = [(a, b) for a in range(objects) for b in range(objects) if a != b]
        for relations in range(complexity - objects + 1):
            choose = combinations_with_replacement if parallel else combinations
            for edges in choose(pairs, relations):
                if cycles or is_acyclic(objects, edges):
                    for attributes in compositions(objects, complexity - objects - relations):
                        found.add(canonical((attributes, edges)))
    return found
