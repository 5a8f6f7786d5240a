"""Connected cores: non-isomorphic connected directed graphs, grown relation by relation.

Every connected graph with more relations than a tree comes from one with a relation less, every tree from a tree with
an object less, so growing by one and keeping one of each isomorphism class finds all. The canonical form of thousands
of candidates is made at once on arrays: objects are ordered by a hash of their surroundings (colour refinement), which
is exact where the hashes of a graph differ or belong to twins; the few others are searched one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["Core", "Kind", "connected_cores"]

Matrices = npt.NDArray[np.uint8]
"""(B, n, n): how many relations go from row to column."""
Hashes = npt.NDArray[np.uint64]
Permutation = tuple[int, ...]

_ODD: Final = tuple(
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)
_ROUNDS: Final = 4


@attrs.frozen
class Kind:
    """Which graphs count: whether relations may form cycles, whether a pair may have several in one direction."""

    cycles: bool = False
    parallel: bool = False


@attrs.frozen(eq=False)
class Core:
    """One connected graph: objects, relations, the largest degree, and its automorphisms (the identity first)."""

    objects: int
    edges: tuple[tuple[int, int], ...]
    max_degree: int
    automorphisms: tuple[Permutation, ...]


@lru_cache(maxsize=256)
def connected_cores(objects: int, relations: int, kind: Kind = Kind()) -> tuple[Core, ...]:
    """All connected cores with so many objects and relations, in an order that never changes."""
    graphs = _level(objects, relations, kind)
    degrees = (graphs.sum(axis=1, dtype=np.int64) + graphs.sum(axis=2, dtype=np.int64)).max(axis=1, initial=0)
    return tuple(map(_core, graphs.tolist(), degrees.tolist(), _hashes(graphs).tolist()))


@lru_cache(maxsize=256)
def _level(objects: int, relations: int, kind: Kind) -> Matrices:
    if objects < 1 or relations < objects - 1:
        return np.zeros((0, max(objects, 1), max(objects, 1)), np.uint8)
    if objects == 1:
        return np.zeros((int(relations == 0), 1, 1), np.uint8)
    if relations == objects - 1:
        grown = _with_leaf(_level(objects - 1, relations - 1, kind))
    else:
        grown = _with_relation(_level(objects, relations - 1, kind), kind)
    return _canonical_classes(grown)


def _with_leaf(graphs: Matrices) -> Matrices:
    """Each graph with one more object, related to each of the others in either direction."""
    count, size, _ = graphs.shape
    wider = np.zeros((count, size + 1, size + 1), np.uint8)
    wider[:, :size, :size] = graphs
    grown = []
    for node in range(size):
        for row, column in ((node, size), (size, node)):
            one = wider.copy()
            one[:, row, column] = 1
            grown.append(one)
    return np.concatenate(grown)


def _with_relation(graphs: Matrices, kind: Kind) -> Matrices:
    """Each graph with one more relation wherever the kind allows one."""
    size = graphs.shape[1]
    reach = _reachable(graphs)
    grown = [graphs[:0]]
    for row in range(size):
        for column in range(size):
            if row == column:
                continue
            allowed = np.ones(len(graphs), bool) if kind.parallel else graphs[:, row, column] == 0
            if not kind.cycles:
                allowed &= ~reach[:, column, row]
            one = graphs[allowed]
            one[:, row, column] += 1
            grown.append(one)
    return np.concatenate(grown)


def _reachable(graphs: Matrices) -> npt.NDArray[np.bool_]:
    reach = graphs > 0
    for through in range(graphs.shape[1]):
        reach |= reach[:, :, through, None] & reach[:, through, None, :]
    return reach


def _canonical_classes(graphs: Matrices) -> Matrices:
    """One graph of each isomorphism class, in its canonical order, sorted."""
    if not len(graphs):
        return graphs
    size = graphs.shape[1]
    ordered, hashes = _by_hash(graphs)
    for place in np.flatnonzero(~_is_settled(ordered, hashes)):
        ordered[place] = _least(ordered[place], hashes[place].tolist())
    flat = np.ascontiguousarray(ordered.reshape(len(ordered), size * size))
    _, first = np.unique(flat.view(f"V{size * size}").ravel(), return_index=True)
    return ordered[first]


def _mixed(values: Hashes) -> Hashes:
    """Another number of 64 bits for each (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _ODD[1]
    values = (values ^ (values >> np.uint64(27))) * _ODD[2]
    return values ^ (values >> np.uint64(31))


def _hashes(graphs: Matrices) -> Hashes:
    """(B, n): of each object a number that tells its surroundings, whatever the order of objects."""
    weight = graphs.astype(np.uint64)
    hashes = np.full(graphs.shape[:2], _ODD[0], np.uint64)
    for _ in range(_ROUNDS):
        out = (weight * _mixed(hashes ^ _ODD[3])[:, None, :]).sum(axis=2, dtype=np.uint64)
        into = (weight * _mixed(hashes + _ODD[0])[:, :, None]).sum(axis=1, dtype=np.uint64)
        hashes = _mixed(hashes * _ODD[0] + _mixed(out) + _mixed(into ^ _ODD[3]) * _ODD[2])
    return hashes


def _by_hash(graphs: Matrices) -> tuple[Matrices, Hashes]:
    hashes = _hashes(graphs)
    order = np.argsort(hashes, axis=1, kind="stable")
    rows = np.arange(len(graphs))[:, None, None]
    return graphs[rows, order[:, :, None], order[:, None, :]], np.take_along_axis(hashes, order, axis=1)


def _is_settled(ordered: Matrices, hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Whether the order by hash is the only one that counts: equal hashes only among twins, which look the same."""
    tied = hashes[:, 1:] == hashes[:, :-1]
    same_row = (ordered[:, 1:, :] == ordered[:, :-1, :]).all(axis=2)
    same_column = (ordered[:, :, 1:] == ordered[:, :, :-1]).all(axis=1)
    settled: npt.NDArray[np.bool_] = (~tied | (same_row & same_column)).all(axis=1)
    return settled


def _least(graph: Matrices, hashes: list[int]) -> Matrices:
    """The graph in that order, among those that respect the hashes and their refinements, which reads least."""
    rows: list[list[int]] = graph.tolist()
    ranks = {value: rank for rank, value in enumerate(sorted(set(hashes)))}
    orders = _discrete_orders(rows, [ranks[value] for value in hashes])
    best = min(tuple(tuple(rows[a][b] for b in order) for a in order) for order in orders)
    return np.array(best, np.uint8)


def _discrete_orders(rows: list[list[int]], colours: list[int]) -> Iterator[list[int]]:
    """Individualisation and refinement: every order at the leaves; of twins only one is tried."""
    colours = _refined(rows, colours)
    cells: dict[int, list[int]] = {}
    for node, colour in enumerate(colours):
        cells.setdefault(colour, []).append(node)
    open_cells = [cell for cell in cells.values() if len(cell) > 1]
    if not open_cells:
        yield sorted(range(len(rows)), key=colours.__getitem__)
        return
    cell = min(open_cells, key=lambda cell: (len(cell), colours[cell[0]]))
    tried: list[int] = []
    for node in cell:
        if any(_are_twins(rows, node, other) for other in tried):
            continue
        tried.append(node)
        yield from _discrete_orders(rows, [2 * colour - (other == node) for other, colour in enumerate(colours)])


def _are_twins(rows: list[list[int]], a: int, b: int) -> bool:
    """Whether exchanging two objects leaves the graph as it is."""
    others = [node for node in range(len(rows)) if node not in (a, b)]
    return rows[a][b] == rows[b][a] and all(
        rows[a][node] == rows[b][node] and rows[node][a] == rows[node][b] for node in others
    )


def _refined(rows: list[list[int]], colours: list[int]) -> list[int]:
    """Colours split until objects of one colour have equal surroundings; ranks, so that equal graphs get equal ones."""
    nodes = range(len(rows))
    while True:
        told = [
            (
                colours[node],
                sorted((colours[other], rows[node][other]) for other in nodes if rows[node][other]),
                sorted((colours[other], rows[other][node]) for other in nodes if rows[other][node]),
            )
            for node in nodes
        ]
        ranks: dict[str, int] = {}
        for key in sorted(told):
            ranks.setdefault(repr(key), len(ranks))
        found = [ranks[repr(key)] for key in told]
        if len(ranks) == len(set(colours)):
            return found
        colours = found


def _core(rows: list[list[int]], max_degree: int, hashes: list[int]) -> Core:
    edges = tuple(
        (subject, object_)
        for subject, row in enumerate(rows)
        for object_, count in enumerate(row)
        for _ in range(count)
    )
    return Core(len(rows), edges, max_degree, _automorphisms(rows, hashes))


def _automorphisms(rows: list[list[int]], hashes: list[int]) -> tuple[Permutation, ...]:
    identity = tuple(range(len(rows)))
    if len(set(hashes)) == len(hashes):
        return (identity,)
    alike = [[other for other in identity if hashes[other] == hashes[node]] for node in identity]
    return tuple(sorted(map(tuple, _extended(rows, alike, []))))


def _extended(rows: list[list[int]], alike: list[list[int]], images: list[int]) -> Iterator[list[int]]:
    """All permutations under which the graph stays as it is, found object by object."""
    node = len(images)
    if node == len(rows):
        yield images
        return
    for image in alike[node]:
        if image not in images and all(
            rows[node][other] == rows[image][images[other]] and rows[other][node] == rows[images[other]][image]
            for other in range(node)
        ):
            yield from _extended(rows, alike, [*images, image])
