"""Answers compared with their truths, many at once: overlaps, names, who stands for whom, which triplets are met.

What several rewards need of the same answers is computed once, when the first of them asks. Arrays are flat: they run
over all pairs of a thing that was said and a thing of the truth of the same answer, one answer behind the other: what a
call of numpy costs is shared by answers to different truths too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.labels import Similarity
from sgforge.matching import hungarian
from sgforge_grpo.reading.columns import AnswerColumns, owners_of

__all__ = ["Compared"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_NAME_COST, _OVERLAP_COST, _DISTANCE_COST = 1.0, 2.0, 5.0
"""Weights of the cost of a match: 1 - likeness, 1 - GIoU, distance of corners (R1-SGG, the released code's values)."""
_BLOCK = 2048
"""Pairs at a time: seven numbers of each take less than the 128 KiB from which memory is asked of the system anew."""
_SAME: float = 1.0 - 1e-6


@attrs.frozen(eq=False)
class _Pairs:
    """All pairs of a row, of those that belong to answers, with each thing of its answer's truth.

    `row` and `other`: the two of each pair; `starts`: the first pair of each row.
    """

    row: Ints
    other: Ints
    starts: Ints

    @classmethod
    def of(cls, said: Ints, there: Ints, begins: Ints) -> _Pairs:
        """Of answers with so many rows `said`, to truths with so many things `there`, which begin at `begins`."""
        each = np.repeat(there, said)
        ends = each.cumsum()
        starts = ends - each
        # The place of a pair in its row, by where the truth's things begin.
        shift = np.repeat(begins, said) - starts
        other = np.repeat(shift, each)
        other += np.arange(len(other))
        return cls(np.repeat(np.arange(len(each)), each), other, starts)


class Compared:
    """Answers and the truth of each; arrays run over the things of all answers, one answer behind the other.

    `truths`: graphs read as answers. `sizes`: (T, 2) width and height of the picture of each, in pixels. `of`: which
    truth belongs to each answer. `least`: the IoU from which a box stands for another.
    """

    def __init__(
        self,
        *,
        truths: AnswerColumns,
        sizes: Floats,
        of: Sequence[int],
        answers: AnswerColumns,
        similarity: Similarity,
        least: float = 0.5,
    ) -> None:
        self.answers = answers
        self.truths = truths
        self.of = np.array(of, np.int64)
        self._sizes = sizes
        self._similarity = similarity
        self._least = least

    @cached_property
    def _pairs(self) -> _Pairs:
        """Regions that were said, each with every region of its truth."""
        return self._paired(self.answers.region_counts, self.truths.region_counts)

    @cached_property
    def _triplets(self) -> _Pairs:
        """Relations that were said, each with every relation of its truth."""
        return self._paired(self.answers.relation_counts, self.truths.relation_counts)

    def _paired(self, said: Ints, there: Ints) -> _Pairs:
        """Pairs of so many things of each answer and so many of each truth."""
        return _Pairs.of(said, there[self.of], (there.cumsum() - there)[self.of])

    @cached_property
    def _sides(self) -> tuple[Floats, Floats]:
        """(5, N) and (5, G): x0, y0, x1, y1 and area of all boxes of answers, and of truths."""
        return _sides(self.answers.corners), _sides(self.truths.corners)

    @cached_property
    def _geometry(self) -> tuple[Floats, Floats, Floats]:
        """IoU, generalised IoU, and distance of corners in shares of the picture, of each pair of regions.

        0, -1 and 4 with a box that is not there.
        """
        pairs, (own, truth) = self._pairs, self._sides
        share = (1.0 / self._sizes)[self.of[owners_of(self.answers.region_counts)]].T
        own, found = np.concatenate([own, share]), np.empty((3, len(pairs.row)))
        # Some at a time, so that what is computed of them stays at hand.
        with np.errstate(divide="ignore", invalid="ignore"):
            for begin in range(0, len(pairs.row), _BLOCK):
                part = slice(begin, begin + _BLOCK)
                said, there = own.take(pairs.row[part], axis=1), truth.take(pairs.other[part], axis=1)
                _overlaps(said[:5], there, said[5:], found[:, part])
        if not all(bool((side[4] > 0).all()) for side in self._sides):
            for values, elsewhere in zip(found, (0.0, -1.0, 4.0), strict=True):
                np.nan_to_num(values, copy=False, nan=elsewhere)
        overlap, general, apart = found
        return overlap, general, apart

    @property
    def overlap(self) -> Floats:
        """IoU of each pair of regions."""
        return self._geometry[0]

    @cached_property
    def likeness(self) -> Floats:
        """How alike the names of each pair of regions are, in [0, 1]; a region without one is like none."""
        return self._alike_in(self._pairs, *self.answers.used_labels(), *self.truths.used_labels())

    def _alike_in(self, pairs: _Pairs, said: Sequence[str], own: Ints, there: Sequence[str], others: Ints) -> Floats:
        """(P,) the likeness of the names of pairs: names that were said, which each has, and the same of truths."""
        if not len(pairs.row):
            return np.zeros(0)
        table = np.clip(np.asarray(self._similarity(said, there), np.float64), 0.0, 1.0)
        table[[name == "" for name in said]] = 0.0
        table[:, [name == "" for name in there]] = 0.0
        places = (own * len(there)).take(pairs.row)
        places += others.take(pairs.other)
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
        rows, columns = self.answers.region_counts, self.truths.region_counts[self.of]
        return _assigned(self._cost(), rows, columns)

    def _cost(self) -> Floats:
        """All three terms of (1 - likeness) and (1 - overlap) but their constants, which no assignment depends on."""
        _, general, apart = self._geometry
        return _DISTANCE_COST * apart - _NAME_COST * self.likeness - _OVERLAP_COST * general

    def matched(self, worth: Floats) -> Floats:
        """(N,) of the worth of each pair that of each region with the one it stands for; 0 where it stands for none."""
        rows, places = self.matches
        credit = np.zeros(len(self.answers.names))
        credit[rows] = worth[places]
        return credit

    def region_sums(self, credit: Floats) -> Floats:
        """(A,) the sum over the regions of each answer."""
        return _sums(credit, self.answers.region_counts)

    def relation_sums(self, credit: Floats) -> Floats:
        """(A,) the sum over the relations of each answer."""
        return _sums(credit, self.answers.relation_counts)

    @cached_property
    def region_counts(self) -> tuple[Floats, Floats]:
        """(A,) how many regions the truth of each answer has, and how many were said."""
        return self.truths.region_counts[self.of].astype(np.float64), self.answers.region_counts.astype(np.float64)

    @cached_property
    def relation_counts(self) -> tuple[Floats, Floats]:
        """(A,) how many relations the truth of each answer has, and how many were said."""
        return self.truths.relation_counts[self.of].astype(np.float64), self.answers.relation_counts.astype(np.float64)

    @cached_property
    def faults(self) -> list[float]:
        """How many faults each answer has."""
        return [float(len(one)) for one in self.answers.faults]

    @cached_property
    def has_rows(self) -> bool:
        """Whether any answer was a graph, whose rows have a credit each."""
        return any(one is not None for one in self.answers.rows)

    @cached_property
    def _alike(self) -> Floats:
        """How alike the predicates of each pair of relations are."""
        return self._alike_in(self._triplets, *self.answers.used_predicates(), *self.truths.used_predicates())

    @cached_property
    def _candidates(self) -> tuple[Ints, Ints, Floats, Ints, Ints]:
        """Pairs of relations with predicates that are alike: both rows, how alike; pairs of subjects, of objects."""
        own, truth = self.answers, self.truths
        places = np.flatnonzero(self._alike > 0)
        rows, others = self._triplets.row[places], self._triplets.other[places]
        begins = np.repeat(own.region_counts.cumsum() - own.region_counts, own.relation_counts)
        subjects, objects = (
            self._pairs.starts[begins + said][rows] + there[others]
            for said, there in ((own.subjects, truth.subjects), (own.objects, truth.objects))
        )
        return rows, others, self._alike[places], subjects, objects

    def _credit(self, table: Floats) -> Floats:
        """(R,) credit of each relation said, by the worth of its ends, in pairs, for those of the truth's."""
        if not len(self._triplets.row):
            return np.zeros(len(self.answers.said))
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
        credit = np.zeros(len(self.answers.said))
        places = np.flatnonzero(worth > 0)
        values, rows, others = worth[places], rows[places], others[places]
        owners = owners_of(self.answers.relation_counts)[rows]
        width = max(1, len(self.truths.said))
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


def _sides(corners: Floats) -> Floats:
    """(5, N) x0, y0, x1, y1 and area of boxes (N, 4)."""
    x0, y0, x1, y1 = corners.T
    return np.stack([x0, y0, x1, y1, (x1 - x0) * (y1 - y0)])


def _overlaps(own: Floats, there: Floats, share: Floats, found: Floats) -> None:
    """IoU, generalised IoU and distance of boxes that stand beside each other, into (3, P): (5, P) each.

    `share`: (2, P) of the picture's width and height, what a pixel is of it.
    """
    most, least = np.maximum(own[:4], there[:4]), np.minimum(own[:4], there[:4])
    # The box that both share, and the one around both.
    shared = np.maximum(least[2:] - most[:2], 0.0)
    around = most[2:] - least[:2]
    met, whole = shared[0] * shared[1], around[0] * around[1]
    union = own[4] + there[4] - met
    overlap, general, apart = found
    np.divide(met, union, out=overlap)
    np.subtract(overlap, (whole - union) / whole, out=general)
    across, along = (most[:2] - least[:2] + most[2:] - least[2:]) * share
    np.add(across, along, out=apart)


def _sums(credit: Floats, counts: Ints) -> Floats:
    """(A,) of credits of so many things each."""
    sums: Floats = np.bincount(owners_of(counts), credit, len(counts))
    return sums


def _assigned(cost: Floats, rows: Ints, columns: Ints) -> tuple[Ints, Ints]:
    """The assignment of least cost in each of many matrices of so many rows and columns, which lie behind each other.

    Gives (K,) rows of all matrices, one behind the other, and the place of each with its column in `cost`.
    """
    # Each item of the shorter side takes what is cheapest for it; where that is nobody else's, it is the best.
    count, length, is_tall = np.minimum(rows, columns), np.maximum(rows, columns), columns <= rows
    owners = owners_of(count)
    item = np.arange(len(owners)) - (count.cumsum() - count)[owners]
    first, step = np.where(is_tall[owners], (item, columns[owners]), (item * columns[owners], np.ones_like(item)))
    begins, sizes = (rows * columns).cumsum() - rows * columns, length[owners]
    starts = sizes.cumsum() - sizes
    places = np.repeat(begins[owners] + first - step * starts, sizes)
    places += np.arange(len(places)) * np.repeat(step, sizes)
    costs = cost.take(places)
    cheapest = np.flatnonzero(costs == np.repeat(np.minimum.reduceat(costs, starts), sizes)) if len(starts) else starts
    lines = owners_of(sizes)[cheapest]
    cheapest = cheapest[np.diff(lines, prepend=-1) > 0]
    taken, found = cheapest - starts, places[cheapest]
    row_begins = rows.cumsum() - rows
    own = row_begins[owners] + np.where(is_tall[owners], taken, item)
    keys = owners * (length.max(initial=0) + 1) + taken
    ordered = np.sort(keys)
    for one in np.unique(ordered[1:][ordered[1:] == ordered[:-1]] // (length.max(initial=0) + 1)).tolist():
        matrix = cost[begins[one] : begins[one] + rows[one] * columns[one]].reshape(rows[one], columns[one])
        row, column = hungarian(matrix).T
        part = slice(*owners.searchsorted((one, one + 1)))
        own[part], found[part] = row_begins[one] + row, begins[one] + row * columns[one] + column
    return own, found
