"""The answers to one truth compared with it, all at once: overlaps, names, who stands for whom, which triplets are met.

What several rewards need of the same answers is computed once, when the first of them asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgforge.graph import SceneGraph
from sgforge.labels import Similarity
from sgforge.matching import hungarian
from sgforge_grpo.answers import Answer, answer_of_graph

__all__ = ["Group", "Truth"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_NAME_COST, _OVERLAP_COST, _DISTANCE_COST = 1.0, 2.0, 5.0
"""Weights of the cost of a match: 1 - likeness, 1 - GIoU, distance of corners (R1-SGG, the released code's values)."""
_SAME: float = 1.0 - 1e-6


class Truth:
    """The truth about one image, ready to be compared with; likeness of names to its own is kept."""

    def __init__(self, graph: SceneGraph, similarity: Similarity) -> None:
        answer = answer_of_graph(graph)
        self.graph = graph
        self.names = answer.names
        self.boxes = np.array(answer.boxes, np.float64).reshape(-1, 4)
        self.placed = ~np.isnan(self.boxes).any(1)
        self.size = np.array([max(graph.width, 1), max(graph.height, 1)] * 2, np.float64)
        self.relations = answer.relations
        self.subjects, self.objects = _ends(answer.relations)
        self.predicates = list(dict.fromkeys(predicate for _, predicate, _ in answer.relations))
        self.predicate_codes = np.array([self.predicates.index(row[1]) for row in answer.relations], np.int64)
        self.area = _areas(self.boxes)
        self.all_placed = bool((self.area > 0).all())
        self._similarity = similarity
        self.is_graded = False
        self._rows: tuple[dict[str, Floats], dict[str, Floats]] = ({}, {})

    def likeness(self, names: Sequence[str]) -> Floats:
        """(N, G) how alike names are to those of the truth's regions, in [0, 1]; a region without one is like none."""
        return self._table(0, names, self.names)

    def predicate_likeness(self, predicates: Sequence[str]) -> Floats:
        """(N, E) how alike predicates are to those of the truth's relations, in [0, 1]."""
        return self._table(1, predicates, self.predicates)[:, self.predicate_codes]

    def _table(self, kind: int, names: Sequence[str], own: Sequence[str]) -> Floats:
        rows = self._rows[kind]
        fresh = [name for name in dict.fromkeys(names) if name not in rows]
        if fresh and own:
            found = np.clip(np.asarray(self._similarity(fresh, own), np.float64), 0.0, 1.0)
            # Two regions without a name agree in nothing.
            found[:, [not name for name in own]] = 0.0
            self.is_graded |= bool(((found > 0) & (found < _SAME)).any())
            rows.update((name, row if name else row * 0.0) for name, row in zip(fresh, found, strict=True))
        if not own or not names:
            return np.zeros((len(names), len(own)))
        return np.array([rows[name] for name in names])


def _ends(relations: Sequence[tuple[int, str, int]]) -> tuple[Ints, Ints]:
    return np.array([row[0] for row in relations], np.int64), np.array([row[2] for row in relations], np.int64)


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


class Group:
    """Answers to one truth; arrays run over the things of all answers, one answer behind the other.

    `least`: the IoU from which a box stands for another.
    """

    def __init__(self, truth: Truth, answers: Sequence[Answer], least: float = 0.5) -> None:
        self.truth = truth
        self.answers = answers
        self._least = least
        self.region_ends = [0, *accumulate(len(one.names) for one in answers)]
        self.relation_ends = [0, *accumulate(len(one.relations) for one in answers)]

    @cached_property
    def _names(self) -> list[str]:
        return [name for one in self.answers for name in one.names]

    @cached_property
    def _boxes(self) -> Floats:
        return np.array([box for one in self.answers for box in one.boxes], np.float64).reshape(-1, 4)

    @cached_property
    def _geometry(self) -> tuple[Floats, Floats, bool]:
        """IoU and generalised IoU (N, G), 0 and -1 with a box that is not there; and whether all boxes are."""
        found, truth = self._boxes[:, None], self.truth.boxes[None]
        area = _areas(self._boxes)
        sides = np.minimum(found[..., 2:], truth[..., 2:]) - np.maximum(found[..., :2], truth[..., :2])
        sides.clip(0.0, None, out=sides)
        shared = sides[..., 0] * sides[..., 1]
        union = area[:, None] + self.truth.area - shared
        sides = np.maximum(found[..., 2:], truth[..., 2:]) - np.minimum(found[..., :2], truth[..., :2])
        around = sides[..., 0] * sides[..., 1]
        if self.truth.all_placed and bool((area > 0).all()):
            overlap = shared / union
            return overlap, overlap - (around - union) / around, True
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap = shared / union
            general = overlap - (around - union) / around
        return np.nan_to_num(overlap, nan=0.0), np.nan_to_num(general, nan=-1.0), False

    @property
    def overlap(self) -> Floats:
        """IoU (N, G) of what was said with what is there."""
        return self._geometry[0]

    @cached_property
    def likeness(self) -> Floats:
        """(N, G) how alike the names are."""
        return self.truth.likeness(self._names)

    @cached_property
    def located(self) -> Floats:
        """(N, G) how well a box stands for another: IoU by the least that is asked for, at most 1."""
        return np.minimum(self.overlap / self._least, 1.0)

    @cached_property
    def matches(self) -> tuple[list[int], list[int]]:
        """Regions of all answers, and those of the truth that they stand for, one to one within each answer."""
        rows: list[int] = []
        columns: list[int] = []
        if not self.truth.names or not self._names:
            return rows, columns
        distance = np.abs(self._boxes[:, None] - self.truth.boxes)
        distance /= self.truth.size
        apart = distance.sum(-1)
        if not self._geometry[2]:
            apart = np.nan_to_num(apart, nan=4.0)
        # All three terms of (1 - likeness) and (1 - overlap) but their constants, which no assignment depends on.
        cost = _DISTANCE_COST * apart - _NAME_COST * self.likeness - _OVERLAP_COST * self._geometry[1]
        for begin, end in pairwise(self.region_ends):
            own, met = _assigned(cost[begin:end])
            rows += [begin + row for row in own]
            columns += met
        return rows, columns

    def matched(self, worth: Floats) -> Floats:
        """(N,) the worth (N, G) of each region for the one that it stands for; 0 of one that stands for none."""
        rows, columns = self.matches
        credit = np.zeros(len(self._names))
        credit[rows] = worth[rows, columns]
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
    def _relations(self) -> tuple[Ints, Ints, list[str]]:
        """Subjects and objects as rows of all answers, and predicates."""
        ends: list[tuple[int, int]] = []
        predicates: list[str] = []
        for begin, answer in zip(self.region_ends, self.answers, strict=False):
            ends += [(begin + subject, begin + object_) for subject, _, object_ in answer.relations]
            predicates += [predicate for _, predicate, _ in answer.relations]
        table = np.array(ends, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1], predicates

    @cached_property
    def _alike(self) -> Floats:
        return self.truth.predicate_likeness(self._relations[2])

    def _credit(self, table: Floats) -> Floats:
        """(R,) credit of each relation said, by the worth (N, G) of its ends for those of the truth's."""
        subjects, objects, predicates = self._relations
        truth = self.truth
        if not predicates or not truth.relations:
            return np.zeros(len(predicates))
        first = table[subjects[:, None], truth.subjects]
        return self._taken(first * table[objects[:, None], truth.objects] * self._alike)

    @cached_property
    def _near(self) -> NDArray[np.bool_]:
        # A little less, so that an IoU of exactly the least is one whatever order it was computed in.
        near: NDArray[np.bool_] = self.overlap >= self._least - 1e-9
        return near

    @cached_property
    def hard(self) -> Floats:
        """(R,) 1 where a relation is one of the truth, by names and boxes; no relation of the truth is met twice."""
        # Asked for first: what the names are like decides whether there are degrees of likeness at all.
        if self.likeness.size and self._alike.size and not self.truth.is_graded:
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
        rows, columns = self.matches
        table[rows, columns] = self.likeness[rows, columns] * self.located[rows, columns]
        return self._credit(table)

    def _taken(self, worth: Floats) -> Floats:
        """(R,) each relation's credit once, and each of the truth's once an answer: the best pair first."""
        there = worth > 0
        starts = [begin for begin, end in pairwise(self.relation_ends) if begin < end]
        if int(there.sum(1).max()) <= 1 and int(np.add.reduceat(there, starts, axis=0, dtype=np.int64).max()) <= 1:
            best: Floats = worth.max(1)
            return best
        credit = np.zeros(len(worth))
        rows, columns = np.nonzero(there)
        values = worth[rows, columns]
        owners = np.searchsorted(self.relation_ends, rows, "right").tolist()
        taken: set[tuple[int, int]] = set()
        found_rows, found_columns = rows.tolist(), columns.tolist()
        for place in np.argsort(-values, kind="stable").tolist():
            row, met = found_rows[place], (owners[place], found_columns[place])
            if not credit[row] and met not in taken:
                credit[row] = values[place]
                taken.add(met)
        return credit


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
