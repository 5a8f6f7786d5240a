"""What a caption says in which order, from the structure of its graph alone: graphs of one structure share a plan.

Objects are said in an order in which subjects come before what they are related to, as far as relations allow (they
need not be acyclic). A first mention has a, an or some, or no article in the plural; a later one has the, and what
tells it from others of its label: its attributes, or its number in the order of first mentions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

import attrs

from sgforge_gas.captions.phrases import Form, form_of

__all__ = ["Be", "Mention", "Plan", "Shape", "Step", "Style", "Text", "Verb", "Word", "plan_of"]

Style: TypeAlias = Literal["sentence", "list", "dense"]


Rows: TypeAlias = tuple[tuple[int, int, int, int], ...]


@attrs.frozen(kw_only=True)
class Shape:
    """All of a graph that decides the order of what is said.

    `objects`: the kept regions. `relations`: of each kept one its number, subject, object, and the number of the first
    relation with its subject and predicate. `labels`: of each object the place of the first one with its label, none
    where all differ. `counted`: the objects that are told by number. `words`: of each object how many attributes are
    said in sentences of their own.
    """

    style: Style
    objects: tuple[int, ...]
    relations: Rows
    labels: tuple[int, ...]
    counted: frozenset[int]
    words: tuple[int, ...]


@attrs.frozen(eq=False)
class Text:
    """Words that belong to no element."""

    text: str


@attrs.frozen(eq=False)
class Mention:
    """An object in one of its forms; `relation` is that which it is the object of, `verb` the step that says it."""

    object: int
    form: Form
    relation: int | None = None
    verb: int = 0


@attrs.frozen(eq=False)
class Verb:
    """The predicate of a relation, as it stands after its subject, between two texts."""

    relation: int
    subject: int
    lead: str


@attrs.frozen(eq=False)
class Be:
    """One of two texts, the second where the object is a plural."""

    object: int
    texts: tuple[str, str]


@attrs.frozen(eq=False)
class Word:
    """An attribute of an object, by its place in the order of speech."""

    object: int
    place: int


Step: TypeAlias = Text | Mention | Verb | Be | Word


@attrs.frozen(eq=False)
class Plan:
    """What is said, step by step.

    The same steps by kind, each with its place, so that a caption is filled in without asking each step what it is:
    `texts` of all places, "" where words of the graph stand; `mentions`, `verbs`, `bes` and `words`.
    """

    steps: tuple[Step, ...]
    texts: tuple[str, ...]
    mentions: tuple[tuple[int, int, Form], ...]
    verbs: tuple[tuple[int, int, int, str], ...]
    bes: tuple[tuple[int, int, tuple[str, str]], ...]
    words: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Plan:
        """The plan of these steps."""
        by_place = list(enumerate(steps))
        return cls(
            tuple(steps),
            texts=tuple(step.text if isinstance(step, Text) else "" for step in steps),
            mentions=tuple((at, step.object, step.form) for at, step in by_place if isinstance(step, Mention)),
            verbs=tuple((at, s.relation, s.subject, s.lead) for at, s in by_place if isinstance(s, Verb)),
            bes=tuple((at, step.object, step.texts) for at, step in by_place if isinstance(step, Be)),
            words=tuple((at, step.object, step.place) for at, step in by_place if isinstance(step, Word)),
        )


@lru_cache(maxsize=20_000)
def plan_of(
    style: Style,
    objects: tuple[int, ...],
    relations: Rows,
    labels: tuple[int, ...] = (),
    counted: frozenset[int] = frozenset(),
    words: tuple[int, ...] = (),
) -> Plan:
    """The plan of all graphs of one shape (see `Shape`); without objects it says nothing."""
    # Asked for by parts: they are looked up faster than a value made of them.
    shape = Shape(style=style, objects=objects, relations=relations, labels=labels, counted=counted, words=words)
    planner = _Planner(shape)
    if style != "sentence":
        planner.say_objects(objects)
        planner.say_attributes()
    planner.say_clauses()
    planner.say_objects(planner.unsaid())
    planner.finish()
    return Plan.of(planner.steps)


class _Planner:
    """The steps of one caption as they grow."""

    def __init__(self, shape: Shape) -> None:
        self.steps: list[Step] = []
        self._shape = shape
        self._is_dense = shape.style == "dense"
        self._label = dict(zip(shape.objects, shape.labels or shape.objects, strict=True))
        self._alike = Counter(self._label.values())
        self._number: dict[int, int] = {}
        self._count: dict[int, int] = {}

    def say_objects(self, objects: Sequence[int]) -> None:
        """These objects in one clause."""
        if not objects:
            return
        is_first = self._begin()
        there = "There" if is_first else "there"
        self.steps.append(Be(objects[0], (f"{there} is ", f"{there} are ")))
        for place, index in enumerate(objects):
            self._link(place, len(objects))
            self._say_object(index)

    def say_attributes(self) -> None:
        """In the dense style, the attributes of each object in a clause."""
        for index, count in zip(self._shape.objects, self._shape.words, strict=False):
            if count:
                self._say_object(index, is_first=self._begin())
                self.steps.append(Be(index, (" is ", " are ")))
                for place in range(count):
                    self._link(place, count)
                    self.steps.append(Word(index, place))

    def say_clauses(self) -> None:
        """All relations, a clause for each subject."""
        for subject, verbs in self._in_order():
            self._say_object(subject, is_first=self._begin())
            for place, targets in enumerate(verbs):
                lead = " " if not place else " and " if place == len(verbs) - 1 else ", "
                self.steps.append(Verb(targets[0][1], subject, lead))
                verb = len(self.steps) - 1
                for number, (target, relation) in enumerate(targets):
                    self._link(number, len(targets))
                    self._say_object(target, relation=relation, verb=verb)

    def unsaid(self) -> list[int]:
        """The objects that were not mentioned."""
        return [index for index in self._shape.objects if index not in self._number]

    def finish(self) -> None:
        """The full stop."""
        if self.steps:
            self.steps.append(Text("."))

    def _begin(self) -> bool:
        """Begin a clause; whether a sentence begins with it."""
        if not self.steps:
            return True
        is_one = self._shape.style == "sentence"
        self.steps.append(Text("; " if is_one else ". "))
        return not is_one

    def _link(self, place: int, count: int) -> None:
        if place:
            self.steps.append(Text(" and " if place == count - 1 else ", "))

    def _say_object(self, index: int, *, is_first: bool = False, relation: int | None = None, verb: int = 0) -> None:
        is_counted = index in self._shape.counted
        is_known = index in self._number
        if not is_known:
            label = self._label[index]
            self._number[index] = self._count[label] = self._count.get(label, 0) + 1
        # A counted object is told by its number, any other by its attributes where its label has several.
        is_only = self._alike[self._label[index]] == 1
        form = form_of(
            number=self._number[index] if is_counted else 0,
            is_known=is_known,
            is_bare=self._is_dense or (is_known and (is_counted or is_only)),
            is_first=is_first,
        )
        self.steps.append(Mention(index, form, relation, verb))

    def _in_order(self) -> Iterator[tuple[int, list[list[tuple[int, int]]]]]:
        """Subjects with the objects and numbers of their relations, by predicate."""
        verbs: dict[int, dict[int, list[tuple[int, int]]]] = {}
        waiting: dict[int, int] = {}
        for number, subject, object_, first in self._shape.relations:
            verbs.setdefault(subject, {}).setdefault(first, []).append((object_, number))
            waiting[object_] = waiting.get(object_, 0) + 1
        while verbs:
            subject = min(verbs, key=lambda one: (waiting.get(one, 0) > 0, one not in self._number, one))
            found = list(verbs.pop(subject).values())
            for target, _ in (one for targets in found for one in targets):
                waiting[target] -= 1
            yield subject, found
