"""Many answers as columns: what they say, flat, the things of one answer behind those of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge_grpo.reading.answer import Answer

__all__ = ["AnswerColumns", "Named", "owners_of"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = tuple[Sequence[int], Sequence[int]]

_NO_BOX = np.zeros((0, 4))


class NameCodes(dict[str, int]):
    """A number for each different name, by when it was first asked for."""

    def __missing__(self, name: str) -> int:
        code = self[name] = len(self)
        return code

    def of(self, names: Iterable[str], count: int) -> Ints:
        """(count,) the numbers of so many names."""
        return np.fromiter(map(self.__getitem__, names), np.int64, count)


class Named(dict[Any, int]):
    """A number for each text that stands for a name, and `names`: the number of the name behind each.

    `read`: makes of a text its name, normalised and as it was written, or None of a blank one.
    """

    def __init__(self, read: Callable[[Any], tuple[str, str] | None]) -> None:
        self._read = read
        self.codes = NameCodes()
        self.names: list[int] = []

    def __missing__(self, text: Any) -> int:
        found = self._read(text)
        if found is None:
            raise ValueError("a name is blank")
        self.names.append(self.codes[found[0]])
        self[text] = code = len(self)
        return code

    def of(self, texts: Sequence[Any]) -> Ints:
        """(N,) the numbers of the names behind texts."""
        codes = np.fromiter(map(self.__getitem__, texts), np.int64, len(texts))
        return np.array(self.names, np.int64)[codes]


@attrs.frozen(kw_only=True, eq=False)
class AnswerColumns:
    """A answers with N regions and R relations in all.

    `labels`, `predicates`: different names, normalised. `names` (N,), `said` (R,): which of them each region and each
    relation has. `corners`: (N, 4) x0, y0, x1, y1 in pixels, NaN where there is no box. `subjects`, `objects`: (R,)
    places among the regions of the same answer. `region_counts`, `relation_counts`: (A,) how many each answer has.
    `faults`: of each answer, a code for each thing that was left out or mended. `items`: how many things each gave.
    `texts`: what was said before it was read. `rows`: of a graph, the places of its regions and of its relations here,
    -1 where one was left out; None of what was no graph.
    """

    labels: Sequence[str]
    predicates: Sequence[str]
    names: Ints
    corners: Floats
    subjects: Ints
    said: Ints
    objects: Ints
    region_counts: Ints
    relation_counts: Ints
    faults: Sequence[Sequence[str]]
    items: Sequence[int]
    texts: Sequence[str | None]
    rows: Sequence[Rows | None]

    def __len__(self) -> int:
        return len(self.faults)

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> AnswerColumns:
        """These answers."""
        labels, predicates = NameCodes(), NameCodes()
        regions, relations = [len(one.names) for one in answers], [len(one.said) for one in answers]
        subjects, objects = (_flat([getattr(one, end) for one in answers]) for end in ("subjects", "objects"))
        return cls(
            names=labels.of(chain.from_iterable(one.names for one in answers), sum(regions)),
            said=predicates.of(chain.from_iterable(one.said for one in answers), sum(relations)),
            labels=list(labels),
            predicates=list(predicates),
            corners=np.concatenate([_NO_BOX, *(one.corners for one in answers)]),
            subjects=subjects,
            objects=objects,
            region_counts=np.array(regions, np.int64),
            relation_counts=np.array(relations, np.int64),
            faults=[one.faults for one in answers],
            items=[one.items for one in answers],
            texts=[one.text for one in answers],
            rows=[None if one.regions is None or one.rows is None else (one.regions, one.rows) for one in answers],
        )

    def __add__(self, other: AnswerColumns) -> AnswerColumns:
        """These answers, and then those."""
        if not (len(self) and len(other)):
            return self if len(self) else other
        labels, predicates = NameCodes(_numbered(self.labels)), NameCodes(_numbered(self.predicates))
        names, said = labels.of(other.labels, len(other.labels)), predicates.of(other.predicates, len(other.predicates))
        return AnswerColumns(
            names=np.concatenate([self.names, names[other.names]]),
            said=np.concatenate([self.said, said[other.said]]),
            labels=list(labels),
            predicates=list(predicates),
            corners=np.concatenate([self.corners, other.corners]),
            subjects=np.concatenate([self.subjects, other.subjects]),
            objects=np.concatenate([self.objects, other.objects]),
            region_counts=np.concatenate([self.region_counts, other.region_counts]),
            relation_counts=np.concatenate([self.relation_counts, other.relation_counts]),
            faults=[*self.faults, *other.faults],
            items=[*self.items, *other.items],
            texts=[*self.texts, *other.texts],
            rows=[*self.rows, *other.rows],
        )

    def used_labels(self) -> tuple[Sequence[str], Ints]:
        """The labels that any region has, and which of them each has."""
        return _used(self.labels, self.names)

    def used_predicates(self) -> tuple[Sequence[str], Ints]:
        """The predicates that any relation has, and which of them each has."""
        return _used(self.predicates, self.said)

    def taken(self, places: Sequence[int]) -> AnswerColumns:
        """The answers at these places, in this order; one may be taken several times, a negative one from the end."""
        if list(places) == list(range(len(self))):
            return self
        wanted = np.array(places, np.int64)
        regions, relations = _segments(self.region_counts, wanted), _segments(self.relation_counts, wanted)
        return AnswerColumns(
            names=self.names[regions],
            said=self.said[relations],
            labels=self.labels,
            predicates=self.predicates,
            corners=self.corners[regions],
            subjects=self.subjects[relations],
            objects=self.objects[relations],
            region_counts=self.region_counts[wanted],
            relation_counts=self.relation_counts[wanted],
            faults=[self.faults[place] for place in places],
            items=[self.items[place] for place in places],
            texts=[self.texts[place] for place in places],
            rows=[self.rows[place] for place in places],
        )

    def completed(self, at: Mapping[int, int], count: int, read: Callable[[int], Answer]) -> AnswerColumns:
        """So many answers: for each place in `at` the one that stands there in these, the others as they are `read`."""
        others = [place for place in range(count) if place not in at]
        where = {**at, **dict(zip(others, range(len(self), len(self) + len(others)), strict=True))}
        every = self + AnswerColumns.of([read(place) for place in others])
        return every.taken([where[place] for place in range(count)])


def owners_of(counts: Ints) -> Ints:
    """To which answer each thing belongs, of so many things each."""
    return np.repeat(np.arange(len(counts)), counts)


def _used(names: Sequence[str], codes: Ints) -> tuple[Sequence[str], Ints]:
    is_used = np.bincount(codes, minlength=len(names)) > 0
    if is_used.all():
        return names, codes
    return [names[code] for code in np.flatnonzero(is_used).tolist()], (is_used.cumsum() - 1)[codes]


def _segments(counts: Ints, wanted: Ints) -> Ints:
    """Where the things of these answers lie, of so many things each."""
    begins, each = (counts.cumsum() - counts)[wanted], counts[wanted]
    return np.repeat(begins - (each.cumsum() - each), each) + np.arange(each.sum())


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return dict(zip(names, range(len(names)), strict=True))


def _flat(lists: Sequence[Sequence[int]]) -> Ints:
    """All numbers, one list behind the other."""
    return np.fromiter(chain.from_iterable(lists), np.int64, sum(map(len, lists)))
