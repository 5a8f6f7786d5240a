"""Answers compared with their truths, many at once: overlaps, names, who stands for whom, which triplets are met.

What several rewards need of the same answers is computed once, when the first of them asks. Arrays are flat: they run
over all pairs of a thing that was said and a thing of the truth of the same answer, one answer behind the other: what a
call of numpy costs is shared by answers to different truths too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, pairwise
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
_SAME: float = 1.0 - 1e-6


class Truth:
    """The truth about one image: its things, each once, as `Answer` has them."""

    def __init__(self, graph: SceneGraph) -> None:
        answer = answer_of_graph(graph)
        self.graph = graph
        self.names, self.boxes, self.relations = answer.names, answer.boxes, answer.relations


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
        self._rows = [len(one.relations) for one in answers]
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
        return self._paired(self._rows, [len(one.relations) for one in self.truths])

    def _paired(self, said: Sequence[int], there: Sequence[int]) -> _Pairs:
        """Pairs of so many things of each answer and so many of its truth."""
        sizes = dict(zip(self.truths, there, strict=True))
        begins = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
        return _Pairs.of(said, there, [begins[one] for one in self.truths])

    @cached_property
    def _corners(self) -> tuple[list[Floats], list[Floats]]:
        """x0, y0, x1, y1 of both boxes of each pair of regions."""
        pairs = self._pairs
        own, truth = (_sides(side) for side in (self.answers, self._distinct))
        return [side[pairs.row] for side in own], [side[pairs.other] for side in truth]

    @cached_property
    def _geometry(self) -> tuple[Floats, Floats, bool]:
        """IoU and generalised IoU of each pair, 0 and -1 with a box that is not there; and whether all boxes are."""
        (a0, b0, a1, b1), (x0, y0, x1, y1) = self._corners
        area, own = (x1 - x0) * (y1 - y0), (a1 - a0) * (b1 - b0)
        wide = np.minimum(a1, x1) - np.maximum(a0, x0)
        high = np.minimum(b1, y1) - np.maximum(b0, y0)
        shared = wide.clip(0.0, None) * high.clip(0.0, None)
        union = own + area - shared
        around = (np.maximum(a1, x1) - np.minimum(a0, x0)) * (np.maximum(b1, y1) - np.minimum(b0, y0))
        if bool((area > 0).all()) and bool((own > 0).all()):
            overlap = shared / union
            return overlap, overlap - (around - union) / around, True
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap = shared / union
            general = overlap - (around - union) / around
        return np.nan_to_num(overlap, nan=0.0), np.nan_to_num(general, nan=-1.0), False

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
        rows, columns = np.array([codes[name] for name in said]), np.array([known[name] for name in there])
        found: Floats = table[rows[pairs.row], columns[pairs.other]]
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
    def matches(self) -> tuple[list[int], list[int]]:
        """Regions of all answers, and the pair of each with that of the truth that it stands for, one to one."""
        rows: list[int] = []
        places: list[int] = []
        if not len(self._pairs.row):
            return rows, places
        cost, starts = self._cost(), self._pairs.starts.tolist()
        for begin, end, truth in zip(self.region_ends, self.region_ends[1:], self.truths, strict=False):
            columns = len(truth.names)
            if begin == end or not columns:
                continue
            first = starts[begin]
            own, met = _assigned(cost[first : first + (end - begin) * columns].reshape(-1, columns))
            rows += [begin + row for row in own]
            places += [first + row * columns + column for row, column in zip(own, met, strict=True)]
        return rows, places

    def _cost(self) -> Floats:
        """All three terms of (1 - likeness) and (1 - overlap) but their constants, which no assignment depends on."""
        own, there = self._corners
        sizes = np.array([(max(one.graph.width, 1), max(one.graph.height, 1)) for one in self.truths], np.float64)
        wide, high = np.repeat(sizes, self._said, axis=0)[self._pairs.row].T
        apart = np.zeros(len(wide))
        for side, other, size in zip(own, there, (wide, high, wide, high), strict=True):
            apart += abs(side - other) / size
        if not self._geometry[2]:
            apart = np.nan_to_num(apart, nan=4.0)
        cost: Floats = _DISTANCE_COST * apart - _NAME_COST * self.likeness - _OVERLAP_COST * self._geometry[1]
        return cost

    def matched(self, worth: Floats) -> Floats:
        """(N,) of the worth of each pair that of each region with the one it stands for; 0 where it stands for none."""
        rows, places = self.matches
        credit = np.zeros(self.region_ends[-1])
        credit[rows] = worth[places]
        return credit

    def region_sums(self, credit: Floats) -> list[float]:
        """The sum over the regions of each answer."""
        values = credit.tolist()
        return [sum(values[begin:end]) for begin, end in pairwise(self.region_ends)]

    def relation_sums(self, credit: Floats) -> list[float]:
        """The sum over the relations of each answer."""
        values = credit.tolist()
        return [sum(values[begin:end]) for begin, end in pairwise(self.relation_ends)]

    @cached_property
    def _ends(self) -> tuple[Ints, Ints]:
        """Of each pair of relations the pair of their subjects, and that of their objects."""
        pairs, begins = self._triplets, zip(self.region_ends, self.answers, strict=False)
        rows = [(begin + row[0], begin + row[2]) for begin, one in begins for row in one.relations]
        known = [(row[0], row[2]) for one in self._distinct for row in one.relations]
        said, there = (np.array(side, np.int64).T for side in (rows, known))
        subjects, objects = self._pairs.starts[said][:, pairs.row] + there[:, pairs.other]
        return subjects, objects

    @cached_property
    def _alike(self) -> Floats:
        """How alike the predicates of each pair of relations are."""
        said = [row[1] for one in self.answers for row in one.relations]
        return self._alike_in(self._triplets, said, [row[1] for one in self._distinct for row in one.relations])

    def _credit(self, table: Floats) -> Floats:
        """(R,) credit of each relation said, by the worth of its ends, in pairs, for those of the truth's."""
        if not len(self._triplets.row):
            return np.zeros(self.relation_ends[-1])
        subjects, objects = self._ends
        return self._taken(table[subjects] * table[objects] * self._alike)

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

    def _taken(self, worth: Floats) -> Floats:
        """(R,) each relation's credit once, and each of the truth's once an answer: the best pair first."""
        credit = np.zeros(self.relation_ends[-1])
        places = np.flatnonzero(worth > 0)
        values = worth[places]
        rows, met = self._triplets.row[places], self._triplets.other[places]
        owners = np.repeat(np.arange(len(self.answers)), self._rows)[rows]
        order = np.argsort(-values, kind="stable")
        best = zip(*(side[order].tolist() for side in (rows, owners, met, values)), strict=True)
        taken: set[tuple[int, int]] = set()
        given = credit.tolist()
        for row, owner, one, value in best:
            if not given[row] and (owner, one) not in taken:
                given[row] = value
                taken.add((owner, one))
        return np.array(given)


def _sides(things: Sequence[Answer] | Sequence[Truth]) -> Floats:
    """(4, N) x0, y0, x1, y1 of all boxes."""
    sides = (side for one in things for box in one.boxes for side in box)
    return np.fromiter(sides, np.float64).reshape(-1, 4).T.copy()


def _assigned(cost: Floats) -> tuple[list[int], list[int]]:
    """The assignment of least cost; where the best of each is nobody else's best, it is that."""
    rows, columns = cost.shape
    if not rows:
        return [], []
    if columns <= rows:
        best: list[int] = cost.argmin(0).tolist()
        if len(set(best)) == columns:
            return best, list(range(columns))
    else:
        best = cost.argmin(1).tolist()
        if len(set(best)) == rows:
            return list(range(rows)), best
    pairs = hungarian(cost)
    return pairs[:, 0].tolist(), pairs[:, 1].tolist()
