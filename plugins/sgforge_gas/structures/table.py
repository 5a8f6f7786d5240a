"""The table of all structures: connected pieces with their attributes, and every way to put pieces together.

A structure is a multiset of connected pieces; a piece is a core with attributes on its objects, one of each class under
the core's automorphisms. So every structure stands in the table exactly once, under a number that never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from sgforge_gas.structures.constraints import Constraints, Size
from sgforge_gas.structures.cores import Core, Kind, Permutation, connected_cores
from sgforge_gas.structures.shape import Structure

__all__ = ["TABLE_COMPLEXITY", "Block", "Table", "table", "table_complexity"]

TABLE_COMPLEXITY: Final = 16
"""The largest complexity whose table is made for draws: 590,692 structures."""
_TABLE_COMPLEXITY_OF_MORE: Final = 11
"""The same where cycles or parallel relations are allowed, of which there are many more."""

Ints = npt.NDArray[np.int32]


def table_complexity(kind: Kind) -> int:
    """The largest complexity that draws take from the table."""
    return _TABLE_COMPLEXITY_OF_MORE if kind.cycles or kind.parallel else TABLE_COMPLEXITY


@attrs.frozen(eq=False)
class Block:
    """All structures of one complexity, a row each: (objects, relations, attributes), components, largest degree."""

    sizes: Ints
    components: Ints
    max_degree: Ints

    def __len__(self) -> int:
        return len(self.components)

    def rows(self, constraints: Constraints) -> npt.NDArray[np.int64]:
        """The numbers of the rows that keep all bounds."""
        keep = np.ones(len(self), bool)
        n, r, a = self.sizes.T
        spans = (
            (constraints.complexity, n + r + a),
            (constraints.objects, n),
            (constraints.relations, r),
            (constraints.attributes, a),
            (constraints.components, self.components),
            (constraints.average_degree, 2 * r / n),
        )
        for span, values in spans:
            if span is not None:
                keep &= (values >= span.least) & (values <= span.most)
        if constraints.max_degree is not None:
            keep &= self.max_degree <= constraints.max_degree
        return np.flatnonzero(keep)


@attrs.frozen(eq=False)
class _Pieces:
    """Connected pieces of one complexity: core and row of attributes of each, and what blocks need to know."""

    cores: list[Core]
    core: Ints
    row: Ints
    sizes: Ints
    max_degree: Ints


class Table:
    """Structures of one kind, by complexity; made when asked for and kept."""

    def __init__(self, kind: Kind = Kind()) -> None:
        self.kind = kind
        self._pieces: list[_Pieces] = []
        self._first = [0]  # of each complexity the number of its first piece
        # By complexity, then by (pieces, complexity of the last one): the numbers of pieces, never descending.
        self._multisets: list[dict[tuple[int, int], Ints]] = [{}]
        self._blocks: dict[int, Block] = {}

    def block(self, complexity: int) -> Block:
        """All structures of this complexity."""
        if complexity not in self._blocks:
            while len(self._multisets) <= complexity:
                self._grow(len(self._multisets))
            self._blocks[complexity] = self._measure(complexity)
        return self._blocks[complexity]

    def structure(self, complexity: int, row: int) -> Structure:
        """The structure in this row of its block."""
        self.block(complexity)
        for pieces in self._multisets[complexity].values():
            if row < len(pieces):
                return self._assembled(pieces[row].tolist())
            row -= len(pieces)
        raise IndexError(row)

    def structures(self, complexity: int) -> Iterator[Structure]:
        """All structures of this complexity, one by one."""
        self.block(complexity)
        for pieces in self._multisets[complexity].values():
            for row in pieces.tolist():
                yield self._assembled(row)

    def counts(self, complexity: int, constraints: Constraints = Constraints()) -> dict[Size, int]:
        """How many there are of each size, ascending; sizes without any are left out."""
        block = self.block(complexity)
        sizes, counts = np.unique(block.sizes[block.rows(constraints)], axis=0, return_counts=True)
        return {(n, r, a): count for (n, r, a), count in zip(sizes.tolist(), counts.tolist(), strict=True)}

    def _grow(self, complexity: int) -> None:
        """The pieces of the next complexity, then all multisets that have it in sum."""
        self._pieces.append(_pieces(complexity, self.kind))
        self._first.append(self._first[-1] + len(self._pieces[-1].core))
        found: dict[tuple[int, int], list[Ints]] = {}
        for last in range(1, complexity + 1):
            first, end = self._first[last - 1], self._first[last]
            numbers = np.arange(first, end, dtype=np.int32)
            if last == complexity:
                found.setdefault((1, last), []).append(numbers[:, None])
            for (count, before), rows in self._multisets[complexity - last].items() if last < complexity else ():
                if before < last:
                    found.setdefault((count + 1, last), []).append(_with_each(rows, numbers))
                elif before == last:
                    found.setdefault((count + 1, last), []).append(_with_later(rows, end))
        self._multisets.append({key: np.concatenate(rows) for key, rows in sorted(found.items())})

    def _measure(self, complexity: int) -> Block:
        sizes = np.concatenate([pieces.sizes for pieces in self._pieces])
        degrees = np.concatenate([pieces.max_degree for pieces in self._pieces])
        rows = list(self._multisets[complexity].values())
        return Block(
            sizes=np.concatenate([sizes[pieces].sum(axis=1, dtype=np.int32) for pieces in rows]),
            components=np.concatenate([np.full(len(pieces), pieces.shape[1], np.int32) for pieces in rows]),
            max_degree=np.concatenate([degrees[pieces].max(axis=1) for pieces in rows]),
        )

    def _assembled(self, numbers: Sequence[int]) -> Structure:
        attributes: list[int] = []
        edges: list[tuple[int, int]] = []
        for number in reversed(numbers):  # larger pieces first
            core, counts = self._piece(number)
            start = len(attributes)
            attributes += counts
            edges += [(subject + start, object_ + start) for subject, object_ in core.edges]
        return Structure(tuple(attributes), tuple(edges))

    def _piece(self, number: int) -> tuple[Core, list[int]]:
        complexity = int(np.searchsorted(self._first, number, side="right"))
        pieces = self._pieces[complexity - 1]
        place = number - self._first[complexity - 1]
        core = pieces.cores[pieces.core[place]]
        rows = _assignments(core.automorphisms, int(pieces.sizes[place][2]))
        return core, rows[pieces.row[place]].tolist()


@lru_cache(maxsize=8)
def table(kind: Kind = Kind()) -> Table:
    """The table of a kind, one in a process."""
    return Table(kind)


def _with_each(rows: Ints, numbers: Ints) -> Ints:
    """Each row with each of the numbers behind it."""
    return np.column_stack([np.repeat(rows, len(numbers), axis=0), np.tile(numbers, len(rows))])


def _with_later(rows: Ints, end: int) -> Ints:
    """Each row with each number behind it from its last one on, up to `end`."""
    last = rows[:, -1]
    counts = end - last
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    numbers = np.arange(counts.sum(), dtype=np.int32) - starts.astype(np.int32) + np.repeat(last, counts)
    return np.column_stack([np.repeat(rows, counts, axis=0), numbers.astype(np.int32)])


def _pieces(complexity: int, kind: Kind) -> _Pieces:
    """All connected structures of one complexity: by objects, then relations, then core, then attributes."""
    cores: list[Core] = []
    core: list[Ints] = [np.zeros(0, np.int32)]
    row: list[Ints] = [np.zeros(0, np.int32)]
    sizes: list[Ints] = [np.zeros((0, 3), np.int32)]
    degrees: list[Ints] = [np.zeros(0, np.int32)]
    for objects in range(1, complexity + 1):
        for relations in range(objects - 1, complexity - objects + 1):
            found = connected_cores(objects, relations, kind)
            if not found:
                continue
            attributes = complexity - objects - relations
            counts = np.array([len(_assignments(one.automorphisms, attributes)) for one in found])
            total = int(counts.sum())
            core.append(np.repeat(np.arange(len(cores), len(cores) + len(found), dtype=np.int32), counts))
            starts = np.repeat(np.cumsum(counts) - counts, counts)
            row.append((np.arange(total) - starts).astype(np.int32))
            sizes.append(np.tile(np.array([objects, relations, attributes], np.int32), (total, 1)))
            degrees.append(np.repeat(np.array([one.max_degree for one in found], np.int32), counts))
            cores += found
    return _Pieces(
        cores=cores,
        core=np.concatenate(core),
        row=np.concatenate(row),
        sizes=np.concatenate(sizes),
        max_degree=np.concatenate(degrees),
    )


@cache
def _assignments(automorphisms: tuple[Permutation, ...], attributes: int) -> npt.NDArray[np.int64]:
    """(m, n): the ways to give attributes to n objects, one of those that an automorphism turns into each other."""
    objects = len(automorphisms[0])
    rows = _compositions(objects, attributes)
    if len(automorphisms) == 1 or not attributes:
        return rows
    places = (attributes + 1) ** np.arange(objects, dtype=np.int64)
    own = rows @ places
    keep = np.ones(len(rows), bool)
    for permutation in automorphisms[1:]:
        keep &= own <= rows[:, permutation] @ places
    return rows[keep]


@cache
def _compositions(objects: int, total: int) -> npt.NDArray[np.int64]:
    """(m, objects): all rows of whole numbers from 0 with this sum, in lexicographic order."""
    if objects == 1:
        return np.array([[total]], np.int64)
    parts = [_compositions(objects - 1, total - first) for first in range(total + 1)]
    first = np.repeat(np.arange(total + 1), [len(part) for part in parts])
    return np.column_stack([first, np.concatenate(parts)])
