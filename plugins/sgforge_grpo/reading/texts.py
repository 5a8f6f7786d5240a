"""Texts read as answers, many at once: in columns where nothing is wrong with their things, else thing by thing."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgforge_grpo.reading.answer import Frame, names_of_id, names_of_predicate, read_answer
from sgforge_grpo.reading.columns import AnswerColumns, Floats, Ints, Named, owners_of
from sgforge_grpo.reading.completion import parsed
from sgforge_grpo.reading.faults import faults_by_answer, faults_of_relations, repeated_things

__all__ = ["read_answers"]

Flags: TypeAlias = NDArray[np.bool_]

_AT_ONCE: Final = 16
"""Texts whose objects are in memory together: so few that the collector of cycles is not woken by them."""
_NUMBERS: Final = frozenset((int, float))
_FOUR: Final = frozenset((4,))
_LISTS: Final = frozenset((list,))
_OBJECTS, _RELATIONSHIPS = itemgetter("objects"), itemgetter("relationships")
_ID, _BOX = itemgetter("id"), itemgetter("bbox")
_SUBJECT, _PREDICATE, _OBJECT = itemgetter("subject"), itemgetter("predicate"), itemgetter("object")
_OTHER_VALUES: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What taking in another value than is asked for may raise."""
_NOWHERE: Final = -(2**40)
_NO_SIDES: Final = np.zeros(0)


class _Said:
    """What texts say that name and place their things as is asked for, as it was written; ids by their numbers."""

    def __init__(self) -> None:
        self.ids, self.predicates = Named(names_of_id), Named(names_of_predicate)
        self.things, self.sides = array("q"), list[Floats]()
        self.facts, self.subjects, self.objects = array("q"), array("q"), array("q")
        self.thing_counts, self.fact_counts = array("q"), array("q")

    def add(self, read: Sequence[dict[str, Any]]) -> None:
        """Take in texts as they were parsed; if any value in them is another than is asked for, an error, and none."""
        things, facts = list(map(_OBJECTS, read)), list(map(_RELATIONSHIPS, read))
        if not _LISTS.issuperset(map(type, chain(things, facts))):
            raise TypeError("no list")
        regions, relations = list(chain.from_iterable(things)), list(chain.from_iterable(facts))
        boxes = list(map(_BOX, regions))
        sides = list(chain.from_iterable(boxes))
        kinds = set(map(type, sides))
        if not (_FOUR.issuperset(map(len, boxes)) and kinds <= _NUMBERS):
            raise TypeError("a box is not four numbers")
        known, named = self.ids.__getitem__, self.predicates.__getitem__
        columns = (
            _floats(sides, kinds),
            list(map(known, map(_ID, regions))),
            list(map(known, map(_SUBJECT, relations))),
            list(map(named, map(_PREDICATE, relations))),
            list(map(known, map(_OBJECT, relations))),
        )
        # From here on nothing can fail, so that a text is in all of them or in none.
        self.sides.append(columns[0])
        self.things.fromlist(columns[1])
        self.subjects.fromlist(columns[2])
        self.facts.fromlist(columns[3])
        self.objects.fromlist(columns[4])
        self.thing_counts.extend(map(len, things))
        self.fact_counts.extend(map(len, facts))


def read_answers(texts: Sequence[str], frames: Sequence[Frame]) -> AnswerColumns:
    """What `read_answer` makes of each text in its frame."""
    said, places = _Said(), list[int]()
    for begin in range(0, len(texts), _AT_ONCE):
        places += _gathered(texts, range(begin, min(begin + _AT_ONCE, len(texts))), said)
    found, is_sound = _columns(said, [texts[place] for place in places], [frames[place] for place in places])
    at = {place: number for number, (place, sound) in enumerate(zip(places, is_sound.tolist(), strict=True)) if sound}
    return found.completed(at, len(texts), lambda place: read_answer(texts[place], frames[place]))


def _gathered(texts: Sequence[str], places: Iterable[int], said: _Said) -> list[int]:
    """The places of the texts that could be taken in; others have something wrong with them."""
    wholes, found = list[dict[str, Any]](), list[int]()
    for place in places:
        whole, faults = parsed(texts[place])
        if whole is not None and not faults:
            wholes.append(whole)
            found.append(place)
    try:
        said.add(wholes)
    except _OTHER_VALUES:
        return [place for place, whole in zip(found, wholes, strict=True) if _is_taken_in(whole, said)]
    return found


def _is_taken_in(whole: dict[str, Any], said: _Said) -> bool:
    try:
        said.add([whole])
    except _OTHER_VALUES:
        return False
    return True


def _columns(said: _Said, texts: Sequence[str], frames: Sequence[Frame]) -> tuple[AnswerColumns, Flags]:
    """All of it as answers, and of which answers that is right: whose things are each once, in order, and in place."""
    things, counts = _ints(said.things), _ints(said.thing_counts)
    raw = np.concatenate([_NO_SIDES, *said.sides]).reshape(-1, 4)
    owners, names = owners_of(counts), np.array(said.ids.names, np.int64)[things]
    corners, is_placed = _placed(raw, owners, frames)
    places = _Places(owners, things, len(said.ids))
    is_sound = np.ones(len(texts), bool)
    is_sound[owners[~is_placed]] = is_sound[places.twice] = is_sound[repeated_things(owners, names, raw)] = False
    facts = owners_of(_ints(said.fact_counts))
    begins = counts.cumsum() - counts
    subjects, objects = (places.of(facts, _ints(ids)) - begins[facts] for ids in (said.subjects, said.objects))
    predicates = np.array(said.predicates.names, np.int64)[_ints(said.facts)]
    faults = faults_of_relations(facts, subjects, predicates, objects)
    kept = faults == 0
    columns = AnswerColumns(
        labels=list(said.ids.codes),
        predicates=list(said.predicates.codes),
        names=names,
        corners=corners,
        subjects=subjects[kept],
        said=predicates[kept],
        objects=objects[kept],
        region_counts=counts,
        relation_counts=np.bincount(facts[kept], minlength=len(texts)),
        faults=faults_by_answer(facts, faults, len(texts)),
        items=(counts + _ints(said.fact_counts)).tolist(),
        texts=texts,
        rows=[None] * len(texts),
    )
    return columns, is_sound


class _Places:
    """Where each thing stands, by its answer and the number of its id; `twice`: answers in which an id stands twice."""

    def __init__(self, owners: Ints, things: Ints, ids: int) -> None:
        keys = owners * ids + things
        self._ids = ids
        self._order = keys.argsort()
        self._keys = keys[self._order]
        self.twice = self._keys[1:][self._keys[1:] == self._keys[:-1]] // max(ids, 1)

    def of(self, owners: Ints, things: Ints) -> Ints:
        """The place of each of these among all things; a negative one of what its answer does not have."""
        wanted = owners * self._ids + things
        if not len(self._keys):
            return np.full(len(wanted), _NOWHERE)
        found = np.minimum(self._keys.searchsorted(wanted), len(self._keys) - 1)
        return np.where(self._keys[found] == wanted, self._order[found], _NOWHERE)


def _placed(raw: Floats, owners: Ints, frames: Sequence[Frame]) -> tuple[Floats, Flags]:
    """(N, 4) boxes in pixels, and whether each is in order and within its picture."""
    ids = list(map(id, frames))  # for the answers to one truth share theirs, and a frame is slow to hash
    known = dict(zip(ids, frames, strict=True))
    places = {key: place for place, key in enumerate(known)}
    rows = np.array([places[key] for key in ids], np.int64)[owners]
    most = np.array([frame.scale for frame in known.values()], np.float64).reshape(-1, 2)
    size = np.array([(frame.width, frame.height) for frame in known.values()], np.float64).reshape(-1, 2)
    left, top, right, bottom = raw.T
    greatest, lowest = most.T.take(rows, axis=1)
    is_placed = (left >= 0) & (top >= 0) & (left < right) & (top < bottom) & (right <= greatest) & (bottom <= lowest)
    return raw * np.tile(size / most, 2)[rows], is_placed


def _floats(numbers: list[Any], kinds: set[type]) -> Floats:
    """(N,) of numbers of these kinds; whole ones alone take half as long by way of integers."""
    return np.array(numbers if float in kinds else array("q", numbers), np.float64)


def _ints(numbers: array[int]) -> Ints:
    return np.frombuffer(numbers, np.int64)
