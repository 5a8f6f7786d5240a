"""Answers compared with their truths, many at once: overlaps, names, who stands for whom, which triplets are met.

What several rewards need of the same answers is computed once, when the first of them asks. Arrays are flat: they run
over all pairs of a thing that was said and a thing of the truth of the same answer, one answer behind the other: what a
call of numpy costs is shared by answers to different truths too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, chain
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import SceneGraph
from sgforge.labels import Similarity
from sgforge.matching import hungarian
from sgforge_grpo.answers import Answer, answer_of_graph

__all__ = ["Compared", "Truth"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_NAME_COST, _OVERLAP_COST, _DISTANCE_COST = 1.0, 2.0, 5.0
"""Weights of the cost of a match: 1 - likeness, 1 - GIoU, distance of corners (R1-SGG, the released code's values)."""
_BLOCK = 2048
_NONE = np.zeros((0, 4))
_SAME: float = 1.0 - 1e-6


class Truth:
    """The truth about one image: its things, each once, as `Answer` has them."""

    def __init__(self, graph: SceneGraph) -> None:
        answer = answer_of_graph(graph)
        self.graph = graph
        self.names, self.corners = answer.names, answer.corners
        self.subjects, self.said, self.objects = answer.subjects, answer.said, answer.objects


@attrs.frozen(eq=False)
class _Pairs:
    """All pairs of a row, of those that belong to answers, with each thing of its answer's truth.

    `row` and `other`: the two of each pair; `starts`: the first pair of each row.
    """

    row: Ints
    other: Ints
    starts: Ints

    @classmethod
    def of(cls, said: Sequence[int], there: Sequence[int], begins: Sequence[int]) -> _Pairs:
        """Of answers with so many rows `said`, to truths with so many things `there`, which begin at `begins`."""
        each = np.repeat(np.array(there, np.int64), said)
        ends = each.cumsum()
        starts = ends - each
        row = np.repeat(np.arange(len(each)), each)
        # The place of a pair in its row, by where the truth's things begin.
        shift = np.repeat(np.array(begins, np.int64), said) - starts
        return cls(row, np.arange(len(row)) + shift[row], starts)


class Compared:
    """Answers and the truth of each; arrays run over the things of all answers, one answer behind the other.

    `least`: the IoU from which a box stands for another.
    """

    def __init__(
        self, truths: Sequence[Truth], answers: Sequence[Answer], similarity: Similarity, least: float = 0.5
    ) -> None:
        self.truths = truths
        self.answers = answers
        self._similarity = similarity
        self._least = least
        self._said = [len(one.names) for one in answers]
        self._rows = [len(one.said) for one in answers]
        self.region_ends = [0, *accumulate(self._said)]
        self.relation_ends = [0, *accumulate(self._rows)]
        self._distinct = list(dict.fromkeys(truths))

    @cached_property
    def _pairs(self) -> _Pairs:
        """Regions that were said, each with every region of its truth."""
        return self._paired(self._said, [len(one.names) for one in self.truths])

    @cached_property
    def _triplets(self) -> _Pairs:
        """Relations that were said, each with every relation of its truth."""
        return self._paired(self._rows, [len(one.said) for one in self.truths])

    def _paired(self, said: Sequence[int], there: Sequence[int]) -> _Pairs:
        """Pairs of so many things of each answer and so many of its truth."""
        sizes = dict(zip(self.truths, there, strict=True))
        begins = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
        return _Pairs.of(said, there, [begins[one] for one in self.truths])

    @cached_property
    def _sides(self) -> tuple[Floats, Floats]:
        """(5, N) and (5, G): x0, y0, x1, y1 and area of all boxes of answers, and of their truths."""
        return _sides(self.answers), _sides(self._distinct)

    def _blocks(self) -> Iterator[tuple[slice, Floats, Floats]]:
        """Pairs of regions, some at a time so that what is computed of them stays at hand: sides and areas of both."""
        pairs, (own, truth) = self._pairs, self._sides
        for begin in range(0, len(pairs.row), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            yield part, own.take(pairs.row[part], axis=1), truth.take(pairs.other[part], axis=1)

    @cached_property
    def _is_whole(self) -> bool:
        """Whether all boxes are there."""
        return all(bool((side[4] > 0).all()) for side in self._sides)

    @cached_property
    def _geometry(self) -> tuple[Floats, Floats]:
        """IoU and generalised IoU of each pair, 0 and -1 with a box that is not there."""
        overlap, general = np.empty((2, len(self._pairs.row)))
        with np.errstate(divide="ignore", invalid="ignore"):
            for part, own, there in self._blocks():
                overlap[part], general[part] = _overlaps(own, there)
        if not self._is_whole:
            return np.nan_to_num(overlap, nan=0.0), np.nan_to_num(general, nan=-1.0)
        return overlap, general

    @property
    def overlap(self) -> Floats:
        """IoU of each pair of regions."""
        return self._geometry[0]

    @cached_property
    def likeness(self) -> Floats:
        """How alike the names of each pair of regions are, in [0, 1]; a region without one is like none."""
        said = [name for one in self.answers for name in one.names]
        return self._alike_in(self._pairs, said, [name for one in self._distinct for name in one.names])

    def _alike_in(self, pairs: _Pairs, said: Sequence[str], there: Sequence[str]) -> Floats:
        """Likeness of the names of pairs; each different name is looked at once."""
        if not len(pairs.row):
            return np.zeros(0)
        codes, known = ({name: code for code, name in enumerate(dict.fromkeys(names))} for names in (said, there))
        table = np.clip(np.asarray(self._similarity(list(codes), list(known)), np.float64), 0.0, 1.0)
        if "" in codes:
            table[codes[""]] = 0.0
        if "" in known:
            table[:, known[""]] = 0.0
        rows, columns = (
            np.fromiter(map(code.__getitem__, names), np.int64, len(names))
            for code, names in ((codes, said), (known, there))
        )
        places = (rows * len(known)).take(pairs.row) + columns.take(pairs.other)
        found: Floats = table.take(places)
        return found

    @cached_property
    def _is_graded(self) -> bool:
        """Whether any names are alike in part."""
        return any(bool(((found > 0) & (found < _SAME)).any()) for found in (self.likeness, self._alike))

    @cached_property
    def located(self) -> Floats:
        """How well the box of each pair stands for the other: IoU by the least that is asked for, at most 1."""
        return np.minimum(self.overlap / self._least, 1.0)

    @cached_property
    def matches(self) -> tuple[Ints, Ints]:
        """Regions of all answers, and the pair of each with that of the truth that it stands for, one to one."""
        starts, cost = self._pairs.starts, self._cost()
        shapes = dict[tuple[int, int], list[int]]()
        for begin, rows, truth in zip(self.region_ends, self._said, self.truths, strict=False):
            if rows and len(truth.names):
                shapes.setdefault((rows, len(truth.names)), []).append(begin)
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for (rows, columns), begins in shapes.items():
            first = np.array(begins)
            places = starts[first, None] + np.arange(rows * columns)
            own, met = _assigned(cost[places].reshape(-1, rows, columns))
            found.append((first[:, None] + own, starts[first, None] + own * columns + met))
        regions, pairs = (np.concatenate([one.ravel() for one in side]) for side in zip(*found, strict=True))
        return regions, pairs

    def _cost(self) -> Floats:
        """All three terms of (1 - likeness) and (1 - overlap) but their constants, which no assignment depends on."""
        sizes = np.array([(max(one.graph.width, 1), max(one.graph.height, 1)) for one in self.truths], np.float64)
        size = np.repeat(np.tile(sizes.reshape(-1, 2), 2).T, self._said, axis=1)
        cost, general, likeness = np.empty(len(self._pairs.row)), self._geometry[1], self.likeness
        for part, own, there in self._blocks():
            ratios = abs(own[:4] - there[:4]) / size.take(self._pairs.row[part], axis=1)
            apart = ratios[0] + ratios[1] + ratios[2] + ratios[3]
            if not self._is_whole:
                apart = np.nan_to_num(apart, nan=4.0)
            cost[part] = _DISTANCE_COST * apart - _NAME_COST * likeness[part] - _OVERLAP_COST * general[part]
        return cost

    def matched(self, worth: Floats) -> Floats:
        """(N,) of the worth of each pair that of each region with the one it stands for; 0 where it stands for none."""
        rows, places = self.matches
        credit = np.zeros(self.region_ends[-1])
        credit[rows] = worth[places]
        return credit

    def region_sums(self, credit: Floats) -> Floats:
        """(A,) the sum over the regions of each answer."""
        return _sums(credit, self._said)

    def relation_sums(self, credit: Floats) -> Floats:
        """(A,) the sum over the relations of each answer."""
        return _sums(credit, self._rows)

    @cached_property
    def region_counts(self) -> tuple[Floats, Floats]:
        """(A,) how many regions the truth of each answer has, and how many were said."""
        return _counts([len(one.names) for one in self.truths]), _counts(self._said)

    @cached_property
    def relation_counts(self) -> tuple[Floats, Floats]:
        """(A,) how many relations the truth of each answer has, and how many were said."""
        return _counts([len(one.said) for one in self.truths]), _counts(self._rows)

    @cached_property
    def faults(self) -> list[float]:
        """How many faults each answer has."""
        return [float(len(one.faults)) for one in self.answers]

    @cached_property
    def has_rows(self) -> bool:
        """Whether any answer was a graph, whose rows have a credit each."""
        return any(one.rows is not None for one in self.answers)

    @cached_property
    def _alike(self) -> Floats:
        """How alike the predicates of each pair of relations are."""
        said, there = ([name for one in side for name in one.said] for side in (self.answers, self._distinct))
        return self._alike_in(self._triplets, said, there)

    @cached_property
    def _candidates(self) -> tuple[Ints, Ints, Floats, Ints, Ints]:
        """Pairs of relations with predicates that are alike: both rows, how alike; pairs of subjects, of objects."""
        places = np.flatnonzero(self._alike > 0)
        rows, others = self._triplets.row[places], self._triplets.other[places]
        begins = np.repeat(np.array(self.region_ends[:-1], np.int64), self._rows)
        subjects, objects = (
            self._pairs.starts[begins + _flat([getattr(one, end) for one in self.answers])][rows]
            + _flat([getattr(one, end) for one in self._distinct])[others]
            for end in ("subjects", "objects")
        )
        return rows, others, self._alike[places], subjects, objects

    def _credit(self, table: Floats) -> Floats:
        """(R,) credit of each relation said, by the worth of its ends, in pairs, for those of the truth's."""
        if not len(self._triplets.row):
            return np.zeros(self.relation_ends[-1])
        rows, others, alike, subjects, objects = self._candidates
        return self._taken(rows, others, table[subjects] * table[objects] * alike)

    @cached_property
    def _near(self) -> NDArray[np.bool_]:
        # A little less, so that an IoU of exactly the least is one whatever order it was computed in.
        near: NDArray[np.bool_] = self.overlap >= self._least - 1e-9
        return near

    @cached_property
    def hard(self) -> Floats:
        """(R,) 1 where a relation is one of the truth, by names and boxes; no relation of the truth is met twice."""
        if not self._is_graded:
            return self.relaxed
        credit = self._credit((self._near & (self.likeness >= _SAME)).astype(np.float64))
        return np.where(credit >= _SAME, credit, 0.0)

    @cached_property
    def relaxed(self) -> Floats:
        """(R,) how alike the three names are, where both boxes are near enough."""
        return self._credit(self.likeness * self._near)

    @cached_property
    def soft(self) -> Floats:
        """(R,) how alike the three names are, by how well boxes stand for those that their regions are matched to."""
        table = np.zeros_like(self.likeness)
        _, places = self.matches
        table[places] = self.likeness[places] * self.located[places]
        return self._credit(table)

    def _taken(self, rows: Ints, others: Ints, worth: Floats) -> Floats:
        """(R,) each relation's credit once, and each of the truth's once an answer: the best pair first."""
        credit = np.zeros(self.relation_ends[-1])
        places = np.flatnonzero(worth > 0)
        values, rows, others = worth[places], rows[places], others[places]
        owners = _owners(self._rows)[rows]
        width = max(1, sum(len(one.said) for one in self._distinct))
        _, met, times = np.unique(owners * width + others, return_inverse=True, return_counts=True)
        # What nothing else asks for is given at once.
        is_alone = (np.bincount(rows, minlength=1)[rows] == 1) & (times[met] == 1)
        credit[rows[is_alone]] = values[is_alone]
        contested = np.flatnonzero(~is_alone)
        order = contested[np.argsort(-values[contested], kind="stable")]
        taken = set[int]()
        for row, one, value in zip(rows[order].tolist(), met[order].tolist(), values[order].tolist(), strict=True):
            if not credit[row] and one not in taken:
                credit[row] = value
                taken.add(one)
        return credit


def _sides(things: Sequence[Answer] | Sequence[Truth]) -> Floats:
    """(5, N) x0, y0, x1, y1 and area of all boxes."""
    corners = np.concatenate([_NONE, *(one.corners for one in things)]).T
    area = (corners[2] - corners[0]) * (corners[3] - corners[1])
    return np.concatenate([corners, area[None]])


def _overlaps(own: Floats, there: Floats) -> tuple[Floats, Floats]:
    """IoU and generalised IoU of boxes that stand beside each other, (5, P) each: sides and areas."""
    most, least = np.maximum(own, there), np.minimum(own, there)
    # The box that both share, and the one around both.
    shared = np.maximum(least[2:4] - most[:2], 0.0)
    around = most[2:4] - least[:2]
    met, whole = shared[0] * shared[1], around[0] * around[1]
    union = own[4] + there[4] - met
    overlap = met / union
    return overlap, overlap - (whole - union) / whole


def _counts(counts: Sequence[int]) -> Floats:
    return np.array(counts, np.float64)


def _sums(credit: Floats, counts: Sequence[int]) -> Floats:
    """(A,) of credits of so many things each."""
    sums: Floats = np.bincount(_owners(counts), credit, len(counts))
    return sums


def _owners(counts: Sequence[int]) -> Ints:
    """To whom each row belongs, of so many rows each."""
    return np.repeat(np.arange(len(counts)), counts)


def _flat(lists: Sequence[Sequence[int]]) -> Ints:
    """All numbers, one list behind the other."""
    return np.fromiter(chain.from_iterable(lists), np.int64, sum(map(len, lists)))


def _assigned(cost: Floats) -> tuple[Ints, Ints]:
    """(A, K) rows and columns of the assignment of least cost in each of (A, N, M); K is the lesser of N and M."""
    count, rows, columns = cost.shape
    if columns <= rows:
        own, met = cost.argmin(1), np.tile(np.arange(columns), (count, 1))
    else:
        own, met = np.tile(np.arange(rows), (count, 1)), cost.argmin(2)
    # Where the best of each is nobody else's best, it is that.
    best = np.sort(own if columns <= rows else met, axis=1)
    for place in np.flatnonzero((best[:, 1:] == best[:, :-1]).any(1)).tolist():
        own[place], met[place] = hungarian(cost[place]).T
    return own, met
