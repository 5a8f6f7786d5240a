"""Many graphs drawn at once: the first draw of every word stands in almost all of them, and arrays tell in which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sgforge.graph import Relation
from sgforge_gas.kept import Kept
from sgforge_gas.populating import DrawnRows, Populator, Thing, axis_of
from sgforge_gas.structures import Drawer, Structure
from sgforge_gas.structures.dice import Dice, dice_at
from sgforge_gas.vocabulary import Vocabulary

__all__ = ["Draft", "Drafter"]

_OBJECTS: Final = 10
_RELATIONS: Final = 8
_ATTRIBUTES: Final = 9
"""Graphs with more of them are drawn one by one."""
_STRUCTURES: Final = 2**15
"""Structures that are kept as arrays; graphs of others are drawn one by one."""
_FITTING: Final = 2**20
"""Words that the tables of what fits may hold."""
_KEPT: Final = 2**16
_FIRST: Final = 2
"""Numbers of an item that its structure takes."""

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Draft: TypeAlias = tuple[DrawnRows, dict[str, str]]
"""The rows of a graph and its scene attributes."""


class Drafter:
    """Draws graphs whose words fit by types, the same that a `Drawer` and a `Populator` draw from the same numbers.

    One by one a word that cannot stand is drawn again. Here it is drawn once. Where an attribute may not stand, those
    of its graph and what follows them are drawn one by one, and where a relation may not, all of it.
    """

    def __init__(
        self,
        drawer: Drawer,
        populator: Populator,
        vocabulary: Vocabulary,
        scene: tuple[int, int],
        draw_scene: Callable[[Dice], dict[str, str]],
    ) -> None:
        self._populator = populator
        self._draw_scene = draw_scene
        self._shapes = _Shapes(drawer)
        self._nouns = vocabulary.nouns
        self._least, self._range = scene
        types = sorted({noun.type for noun in vocabulary.nouns})
        number = {name: place for place, name in enumerate(types)}
        self._type_of = np.array([number[noun.type] for noun in vocabulary.nouns], np.int64)
        place_of = {id(one): place for place, one in enumerate(vocabulary.predicates)}
        fitting = [[place_of[id(one)] for one in populator.fitting(a, b)] for a in types for b in types]
        self._fitting = _Lists(fitting, (len(types), len(types)))
        place_of = {id(one): place for place, one in enumerate(vocabulary.adjectives)}
        self._adjectives = _Lists([[place_of[id(one)] for one in populator.adjectives(name)] for name in types])
        self._predicates = vocabulary.predicates
        self._axes = _numbers([axis[0] if (axis := axis_of(one)) else None for one in vocabulary.predicates])
        self._words = [one.word for one in vocabulary.adjectives]
        self._word_of = _numbers(self._words)
        self._category_of = _numbers([one.category for one in vocabulary.adjectives])
        self._relation = populator.relation
        self._bare: list[Thing] = [(noun.word, ()) for noun in vocabulary.nouns]
        self._one = Kept[int, Thing](self._make_one, _KEPT)
        self._scene = _Scenes(vocabulary)

    @staticmethod
    def takes(vocabulary: Vocabulary) -> bool:
        """Whether its words are few enough for a table of what fits every pair of types."""
        types = len({noun.type for noun in vocabulary.nouns})
        return bool(types) and types * (types * len(vocabulary.predicates) + len(vocabulary.adjectives)) <= _FITTING

    def drafts(self, states: np.ndarray, units: Floats) -> Iterator[Draft | None]:
        """Of each item of `units_of` its graph; None of one that is to be drawn one by one."""
        for item, drawn in enumerate(self._drawn(units)):
            may_be, is_whole, shape, nouns, predicates, adjectives, scene, begun = drawn
            if not may_be:
                yield None
                continue
            structure = self._shapes.structures[shape]
            relations = self._related(structure.edges, predicates) if structure.edges else ()
            if is_whole:
                things = self._things(structure.attributes, nouns, adjectives)
                yield DrawnRows(structure, things, relations, 1.0), self._scene.said(scene) if scene[0] else {}
            else:
                yield self._finished(structure, nouns, relations, dice_at(states[item], units[item, begun:]))

    def _drawn(self, units: Floats) -> Iterator[tuple[Any, ...]]:
        """Of each item whether its relations may stand, and all else too; the numbers of its structure, nouns,
        predicates, attributes and scene attributes; where the numbers of its attributes begin.
        """
        number, may = self._shapes.numbers(units)
        shapes = self._shapes
        objects, relations, attributes = shapes.objects[number], shapes.relations[number], shapes.attributes[number]
        nouns = _scaled(units[:, _FIRST : _FIRST + _OBJECTS], len(self._nouns))
        types = self._type_of[nouns]
        at = _FIRST + objects
        predicates, fit = self._draw_predicates(_from(units, at, _RELATIONS), types, number)
        begun = at = at + relations
        adjectives, suit = self._draw_adjectives(_from(units, at, _ATTRIBUTES), types, number)
        at = at + attributes
        scenes, told = self._scene.draw(_from(units, at, 5), self._least, self._range)
        may &= fit & (begun <= units.shape[1])
        is_whole = suit & told & (at + 1 + 2 * scenes[:, 0] <= units.shape[1])
        columns = (may, is_whole, number, nouns, predicates, adjectives, scenes, begun)
        return zip(*(column.tolist() for column in columns), strict=True)

    def _finished(
        self, structure: Structure, nouns: list[int], relations: tuple[Relation, ...], dice: Dice
    ) -> Draft | None:
        """The graph whose attributes and scene are drawn one by one."""
        counts = structure.attributes
        things = self._populator.draw_things(counts, [self._nouns[noun] for noun in nouns[: len(counts)]], dice)
        return None if things is None else (DrawnRows(structure, things, relations, 1.0), self._draw_scene(dice))

    def _draw_predicates(self, units: Floats, types: Ints, number: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        shapes = self._shapes
        is_there = np.arange(_RELATIONS) < shapes.relations[number][:, None]
        ends = (np.take_along_axis(types, ends[number], 1) for ends in (shapes.subjects, shapes.targets))
        found, is_found = self._fitting.pick(units, *ends)
        # Two relations of one order of places may contradict each other; that they do is rare, but not told here.
        return found, (is_found | ~is_there).all(axis=1) & _differ(np.where(is_there, self._axes[found], -1))

    def _draw_adjectives(self, units: Floats, types: Ints, number: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        shapes = self._shapes
        is_there = np.arange(_ATTRIBUTES) < shapes.attributes[number][:, None]
        owners = shapes.owners[number]
        found, is_found = self._adjectives.pick(units, np.take_along_axis(types, owners, 1))
        words = np.where(is_there, owners * len(self._words) + self._word_of[found], -1)
        categories = np.where(is_there, owners * len(self._words) + self._category_of[found], -1)
        return found, (is_found | ~is_there).all(axis=1) & _differ(words) & _differ(categories)

    def _things(self, counts: Sequence[int], nouns: list[int], adjectives: list[int]) -> tuple[Thing, ...]:
        things: list[Thing] = []
        bare, ones, every, done = self._bare, self._one, self._words, 0
        for count, noun in zip(counts, nouns, strict=False):
            if not count:
                things.append(bare[noun])
                continue
            if count == 1:
                things.append(ones[noun * len(every) + adjectives[done]])
            else:
                words = tuple([every[one] for one in adjectives[done : done + count]])
                things.append((bare[noun][0], words))
            done += count
        return tuple(things)

    def _related(self, edges: Sequence[tuple[int, int]], predicates: list[int]) -> tuple[Relation, ...]:
        relation, known = self._relation, self._predicates
        return tuple([relation[pair, known[one]] for pair, one in zip(edges, predicates, strict=False)])

    def _make_one(self, key: int) -> Thing:
        noun, word = divmod(key, len(self._words))
        return self._nouns[noun].word, (self._words[word],)


class _Shapes:
    """Structures of a drawer as arrays, by numbers that they get when they are first drawn."""

    def __init__(self, drawer: Drawer) -> None:
        self._drawer = drawer
        self._sums = np.array(drawer.sums, np.int64)
        lengths = [len(rows or ()) for _, rows in drawer.places]
        self._lengths = np.array(lengths, np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._number_of = np.full(sum(lengths) + 1, -1, np.int32)
        self.structures: list[Structure] = []
        self.objects = np.zeros(1, np.int64)
        self.relations = np.zeros(1, np.int64)
        self.attributes = np.zeros(1, np.int64)
        self.subjects = np.zeros((1, _RELATIONS), np.int64)
        self.targets = np.zeros((1, _RELATIONS), np.int64)
        self.owners = np.zeros((1, _ATTRIBUTES), np.int64)

    def numbers(self, units: Floats) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Of each item the number of its structure, and whether it has one here; 0 where not."""
        places = np.searchsorted(self._sums, _scaled(units[:, 0], int(self._sums[-1])), side="right")
        counts = self._lengths[places]
        rows = self._starts[places] + _scaled(units[:, 1], counts)
        unknown = np.unique(rows[(self._number_of[rows] == -1) & (counts > 0)]).tolist()
        if unknown:
            self._add(unknown)
        numbers = self._number_of[rows].astype(np.int64)
        may = (numbers >= 0) & (counts > 0)
        return np.where(may, numbers, 0), may

    def _add(self, rows: list[int]) -> None:
        ends = (self._starts + self._lengths).tolist()
        fresh = []
        for row in rows:
            place = int(np.searchsorted(ends, row, side="right"))
            structure = self._drawer.structure(place, row - int(self._starts[place]))
            if self._is_small(structure) and len(self.structures) < _STRUCTURES:
                self._number_of[row] = len(self.structures)
                self.structures.append(structure)
                fresh.append(structure)
            else:
                self._number_of[row] = -2
        if fresh:
            self._append(fresh)

    @staticmethod
    def _is_small(structure: Structure) -> bool:
        n, r, a = structure.size
        return n <= _OBJECTS and r <= _RELATIONS and a <= _ATTRIBUTES and not structure.has_parallel

    def _append(self, fresh: Sequence[Structure]) -> None:
        known = len(self.structures) - len(fresh)
        sizes = np.array([one.size for one in fresh], np.int64)
        self.objects, self.relations, self.attributes = (
            np.concatenate([old[:known], new])
            for old, new in zip((self.objects, self.relations, self.attributes), sizes.T, strict=True)
        )
        columns = (
            ("subjects", [[pair[0] for pair in one.edges] for one in fresh]),
            ("targets", [[pair[1] for pair in one.edges] for one in fresh]),
            ("owners", [[place for place, count in enumerate(one.attributes) for _ in range(count)] for one in fresh]),
        )
        for name, rows in columns:
            old = getattr(self, name)
            padded = [[*row, *[0] * (old.shape[1] - len(row))] for row in rows]
            setattr(self, name, np.concatenate([old[:known], np.array(padded, np.int64)]))


class _Lists:
    """Lists of numbers in one array, to draw from many at once."""

    def __init__(self, lists: Sequence[Sequence[int]], shape: tuple[int, ...] = (-1,)) -> None:
        counts = np.array([len(one) for one in lists], np.int64)
        self._counts = counts.reshape(shape)
        self._starts = (np.cumsum(counts) - counts).reshape(shape)
        self._values = np.array([value for one in lists for value in one] or [0], np.int64)

    def pick(self, units: Floats, *places: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """One of each list that is named, and whether it has any."""
        counts = self._counts[places]
        rows = self._starts[places] + _scaled(units, counts)
        found: Ints = self._values[np.minimum(rows, len(self._values) - 1)]
        return found, counts > 0


class _Scenes:
    """Scene attributes, up to two."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._scene = vocabulary.scene
        names = sorted({one.name for one in self._scene})
        self._rank = np.array([names.index(one.name) for one in self._scene] or [0], np.int64)
        self._counts = np.array([len(one.values) for one in self._scene] or [1], np.int64)

    def draw(self, units: Floats, least: int, span: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """(N, 5): how many, then of each its place and that of its value; and whether they are told."""
        size = len(self._scene)
        count = least + _scaled(units[:, 0], span) if size else np.zeros(len(units), np.int64)
        one, other = _scaled(units[:, 1], max(size, 1)), _scaled(units[:, 2], max(size, 1))
        is_two = count > 1
        is_swapped = is_two & (self._rank[one] > self._rank[other])
        first, last = np.where(is_swapped, other, one), np.where(is_swapped, one, other)
        value = _scaled(np.where(is_two, units[:, 3], units[:, 2]), self._counts[first])
        found = np.stack([count, first, value, last, _scaled(units[:, 4], self._counts[last])], axis=1)
        return found, (count < 2) | ((count == 2) & (self._rank[one] != self._rank[other]))

    def said(self, drawn: list[int]) -> dict[str, str]:
        """By name what was drawn."""
        count, first, value, last, other = drawn
        one = self._scene[first]
        found = {one.name: one.values[value]}
        if count == 2:
            one = self._scene[last]
            found[one.name] = one.values[other]
        return found


def _scaled(units: Floats, count: int | Ints) -> Ints:
    """A whole number below `count` each, as `int(unit * count)`."""
    found: Ints = (units * count).astype(np.int64)
    return found


def _from(units: Floats, starts: Ints, count: int) -> Floats:
    """(N, count): of each item the numbers from its start on; those behind the last are not to be used."""
    columns = np.minimum(starts[:, None] + np.arange(count), units.shape[1] - 1)
    found: Floats = np.take_along_axis(units, columns, 1)
    return found


def _differ(values: Ints) -> npt.NDArray[np.bool_]:
    """Whether all values from 0 of a row differ."""
    ordered = np.sort(values, axis=1)
    found: npt.NDArray[np.bool_] = ~((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    return found


def _numbers(texts: Sequence[str | None]) -> Ints:
    """Equal numbers for equal texts, from 0; -1 for None."""
    known: dict[str, int] = {}
    found = [-1 if text is None else known.setdefault(text, len(known)) for text in texts]
    return np.array(found or [-1], np.int64)
