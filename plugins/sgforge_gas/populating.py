"""From a structure to a graph: words drawn for objects, attributes and relations, as plausible as asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, Generic, Literal, TypeAlias, TypeVar

import attrs

from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation, Rows
from sgforge_gas.kept import Kept
from sgforge_gas.structures.dice import Dice
from sgforge_gas.structures.shape import Structure
from sgforge_gas.vocabulary import Adjective, Noun, Predicate, Vocabulary

__all__ = ["DrawnRows", "Plausibility", "Populator", "Thing", "axis_of"]

Plausibility: TypeAlias = Literal["none", "types", "seen"]
_TRIES: Final = 60
_KEPT: Final = 2**16
"""Rows that are kept to be shared."""

K = TypeVar("K", bound=Hashable)


Thing: TypeAlias = tuple[str, tuple[str, ...]]
"""An object: its label and attributes."""


@attrs.define(eq=False)  # never changed; to make frozen ones takes longer, and there are millions
class DrawnRows:
    """The rows of a graph, all kept and sound, and which share of its attributes and relations fits its objects.

    A form of `SceneGraph.deferred`: what is drawn needs no check, and regions are made when they are asked for.
    """

    structure: Structure
    things: tuple[Thing, ...]
    relations: tuple[Relation, ...]
    plausibility: float

    @property
    def has_masks(self) -> bool:
        """None is drawn."""
        return False

    def made(self) -> Rows:
        """The rows of the graph."""
        return Rows(tuple([_region(*thing) for thing in self.things]), self.relations)


class _Weighted(Generic[K]):
    """Keys by how often each was seen."""

    def __init__(self, counts: Mapping[K, int]) -> None:
        self.keys = list(counts)
        self._sums = list(accumulate(counts.values()))

    def pick(self, dice: Dice) -> K:
        return self.keys[bisect_right(self._sums, dice.below(self._sums[-1]))]


class _Said:
    """What was said of one graph's objects so far."""

    __slots__ = ("_orders", "_words")

    def __init__(self) -> None:
        self._words: set[tuple[tuple[int, int], str]] = set()
        self._orders: dict[str, set[tuple[int, int]]] = {}

    def allows(self, predicate: Predicate, pair: tuple[int, int]) -> bool:
        """Whether it is new for the pair and does not contradict what was said of places."""
        if (pair, predicate.word) in self._words:
            return False
        axis = axis_of(predicate) if self._orders else None
        links = None if axis is None else self._orders.get(axis[0])
        if axis is None or links is None:
            return True
        first, last = pair if axis[1] else pair[::-1]
        return (first, last) not in links and not _leads(last, first, links)

    def note(self, predicate: Predicate, pair: tuple[int, int]) -> None:
        """Take it as said."""
        self._words.add((pair, predicate.word))
        axis = axis_of(predicate)
        if axis is not None:
            self._orders.setdefault(axis[0], set()).add(pair if axis[1] else pair[::-1])


class Populator:
    """Draws words for structures.

    `plausibility`: "none" draws attributes and relations whatever the object; "types" those that fit the types of the
    objects (score 1); "seen" by how often they were seen together in the graphs that the vocabulary was mined from, and
    what was never seen only where nothing that was seen is left. An object has no attribute twice, none that another of
    its own excludes, nor two of one category while others are left. A pair has no predicate twice, and relations of
    place that exclude each other (a left of b, b left of c, c left of a) are not drawn.

    Raises:
        ConfigError: the vocabulary has no relations or attributes where structures have some.
    """

    def __init__(self, vocabulary: Vocabulary, plausibility: Plausibility = "types") -> None:
        self._words = vocabulary
        self._plausibility = plausibility
        self._by_types: dict[tuple[str, str], list[Predicate]] = {}
        self._adjectives_of: dict[str, list[Adjective]] = {}
        self.relation = Kept[tuple[tuple[int, int], Predicate], Relation](_relation, _KEPT)
        self._excluded_by = Kept[str, tuple[str, ...]](vocabulary.excluded_by, _KEPT)
        if plausibility == "seen":
            self._count()

    def fill(self, structure: Structure, dice: Dice) -> DrawnRows | None:
        """The rows of a graph of this structure; None where no words were found that fit."""
        for _ in range(_TRIES):
            nouns = self._draw_nouns(structure, dice)
            relations = self._draw_relations(structure.edges, nouns, dice) if structure.edges else ()
            things = None if relations is None else self.draw_things(structure.attributes, nouns, dice)
            if relations is not None and things is not None:
                share = 1.0 if self._plausibility == "types" else self._share(nouns, things, relations)
                return DrawnRows(structure, things, relations, share)
        return None

    def refusal(self, structure: Structure) -> str:
        """Why there are no words for a structure."""
        name = self._words.name
        if structure.edges and not self._words.predicates:
            return f"vocabulary {name} has no relation: bound relations to 0, or name some"
        if sum(structure.attributes) and not self._words.adjectives:
            return f"vocabulary {name} has no attribute: bound attributes to 0, or name some"
        n, r, a = structure.size
        return f"vocabulary {name} has too few words for {n} objects, {r} relations and {a} attributes that fit"

    # Objects

    def _draw_nouns(self, structure: Structure, dice: Dice) -> list[Noun]:
        nouns = self._words.nouns
        if self._plausibility != "seen":
            unit, count = dice.unit, len(nouns)
            return [nouns[int(unit() * count)] for _ in structure.attributes]
        found: list[Noun | None] = [None] * len(structure.attributes)
        for subject, object_ in structure.edges:
            if found[subject] is None:
                found[subject] = self._seen_beside(found[object_], dice)
            if found[object_] is None:
                found[object_] = self._seen_beside(found[subject], dice)
        return [self._noun(self._often.pick(dice)) if noun is None else noun for noun in found]

    def _seen_beside(self, other: Noun | None, dice: Dice) -> Noun:
        """An object that was seen related to the other one, or any where none was."""
        partners = None if other is None else self._partners.get(other.word)
        return self._noun((self._often if partners is None else partners).pick(dice))

    def _noun(self, word: str) -> Noun:
        return self._words.noun_of[word]

    def _count(self) -> None:
        counts = self._words.counts
        if not counts.objects:
            raise ConfigError(f'vocabulary {self._words.name} was not mined: plausibility = "seen" needs counts')
        partners: dict[str, dict[str, int]] = {}
        between: dict[tuple[str, str], dict[str, int]] = {}
        for (subject, predicate, object_), count in counts.triplets.items():
            for one, other in ((subject, object_), (object_, subject)):
                row = partners.setdefault(one, {})
                row[other] = row.get(other, 0) + count
            between.setdefault((subject, object_), {})[predicate] = count
        like: dict[str, dict[str, int]] = {}
        for (label, attribute), count in counts.attributes.items():
            like.setdefault(label, {})[attribute] = count
        self._often = _Weighted(counts.objects)
        self._partners = {label: _Weighted(row) for label, row in partners.items()}
        self._between = {pair: _Weighted(row) for pair, row in between.items()}
        self._like = {label: _Weighted(row) for label, row in like.items()}

    # Relations

    def _draw_relations(
        self, edges: Sequence[tuple[int, int]], nouns: Sequence[Noun], dice: Dice
    ) -> tuple[Relation, ...] | None:
        found: list[Relation] = []
        last = len(edges) - 1
        said: _Said | None = None
        for number, pair in enumerate(edges):
            predicate = self._draw_predicate(pair, nouns, said, dice)
            if predicate is None:
                return None
            if number < last:  # there is one more that it may stand against
                said = said or _Said()
                said.note(predicate, pair)
            found.append(self.relation[pair, predicate])
        return tuple(found)

    def _draw_predicate(
        self, pair: tuple[int, int], nouns: Sequence[Noun], said: _Said | None, dice: Dice
    ) -> Predicate | None:
        subject, object_ = nouns[pair[0]], nouns[pair[1]]
        if self._plausibility == "seen" and (subject.word, object_.word) in self._between:
            seen = self._between[subject.word, object_.word]
            for _ in range(4):
                predicate = self._words.predicate_of[seen.pick(dice)]
                if said is None or said.allows(predicate, pair):
                    return predicate
        fitting = self._by_types.get((subject.type, object_.type))
        if fitting is None:
            fitting = self.fitting(subject.type, object_.type)
        if said is None and fitting:  # the first of a graph: none is wrong
            return fitting[int(dice.unit() * len(fitting))]
        for _ in range(4 if fitting else 0):
            predicate = fitting[int(dice.unit() * len(fitting))]
            if said is None or said.allows(predicate, pair):
                return predicate
        left = [predicate for predicate in fitting if said is None or said.allows(predicate, pair)]
        return dice.pick(left) if left else None

    def fitting(self, subject: str, object_: str) -> list[Predicate]:
        """The relations that an object of one type may have to one of another."""
        found = self._by_types.get((subject, object_))
        if found is None:
            every = self._plausibility == "none"
            found = [row for row in self._words.predicates if every or row.fits(subject, object_)]
            self._by_types[subject, object_] = found
        return found

    # Attributes

    def draw_things(self, counts: Sequence[int], nouns: Sequence[Noun], dice: Dice) -> tuple[Thing, ...] | None:
        """Each object with so many attributes."""
        found: list[Thing] = []
        unit, known, is_seen = dice.unit, self._adjectives_of, self._plausibility == "seen"
        for noun, count in zip(nouns, counts, strict=True):
            if not count:
                found.append((noun.word, ()))
                continue
            rows = known.get(noun.type) or self.adjectives(noun.type)
            if count == 1 and rows and not is_seen:  # most are alone, and none is wrong then
                found.append((noun.word, (rows[int(unit() * len(rows))].word,)))
                continue
            words = self._draw_some(noun, rows, count, dice)
            if words is None:
                return None
            found.append((noun.word, tuple(words)))
        return tuple(found)

    def _draw_some(self, noun: Noun, rows: Sequence[Adjective], count: int, dice: Dice) -> list[str] | None:
        like = self._like.get(noun.word) if self._plausibility == "seen" else None
        unit, words = dice.unit, list[str]()
        categories: set[str] = set()
        if rows and like is None:  # the first one stands alone, so none is wrong
            one = rows[int(unit() * len(rows))]
            words.append(one.word)
            categories.add(one.category)
        for _ in range(count - len(words)):
            for _ in range(4 if rows else 0):
                one = rows[int(unit() * len(rows))] if like is None else self._words.adjective_of[like.pick(dice)][0]
                if one.word not in words and one.category not in categories:
                    break
            else:
                left = self._left(rows, words, categories)
                if not left:
                    return None
                one = dice.pick(left)
            words.append(one.word)
            categories.add(one.category)
        return words

    def _left(self, rows: Sequence[Adjective], words: Sequence[str], categories: set[str]) -> Sequence[Adjective]:
        """What an object that has these words may have beside them, of other categories while there are some."""
        excluded = {other for word in words for other in self._excluded_by[word]}
        left = [row for row in rows if row.word not in words and row.word not in excluded]
        return [row for row in left if row.category not in categories] or left

    def adjectives(self, kind: str) -> list[Adjective]:
        """The attributes that an object of a type may have."""
        found = self._adjectives_of.get(kind)
        if found is None:
            every = self._plausibility == "none"
            found = [row for row in self._words.adjectives if every or not row.fits or kind in row.fits]
            self._adjectives_of[kind] = found
        return found

    # How plausible

    def _share(self, nouns: Sequence[Noun], things: Sequence[Thing], relations: Sequence[Relation]) -> float:
        """Which share of attributes and relations was seen, or fits by types; 1 without any."""
        fits: list[bool] = []
        counts = self._words.counts
        seen = self._plausibility == "seen"
        for noun, (_, words) in zip(nouns, things, strict=True):
            for word in words:
                by_type = any(not row.fits or noun.type in row.fits for row in self._words.adjective_of[word])
                fits.append((noun.word, word) in counts.attributes if seen else by_type)
        for row in relations:
            subject, object_ = nouns[row.subject], nouns[row.object]
            by_type = self._words.predicate_of[row.predicate].fits(subject.type, object_.type)
            fits.append((subject.word, row.predicate, object_.word) in counts.triplets if seen else by_type)
        return sum(fits) / len(fits) if fits else 1.0


@lru_cache(maxsize=_KEPT)
def _region(label: str, attributes: tuple[str, ...]) -> Region:
    # Rows are values: equal ones are one object, which many graphs share.
    return Region(label=label, attributes=attributes)


def _relation(key: tuple[tuple[int, int], Predicate]) -> Relation:
    pair, predicate = key
    return Relation(pair[0], predicate.word, pair[1], category=predicate.category)


@lru_cache(maxsize=100_000)
def axis_of(predicate: Predicate) -> tuple[str, bool] | None:
    """The order of place that a predicate speaks of, and whether it does so forwards; None of any other."""
    inverse = predicate.inverse
    if inverse is None or inverse == predicate.word or predicate.category != "spatial":
        return None
    return min(predicate.word, inverse), predicate.word < inverse


def _leads(start: int, end: int, links: Iterable[tuple[int, int]]) -> bool:
    """Whether links lead from one object to another."""
    reached = {start}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        for first, last in links:
            if first == one and last not in reached:
                reached.add(last)
                waiting.append(last)
    return end in reached
