"""Texts read as answers, many at once: in columns where nothing is wrong with their things, else thing by thing."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain
from operator import eq, itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgforge_grpo.answers import Answer, Frame, names_of_id, names_of_predicate, parsed, read_answer, read_relations

__all__ = ["read_answers"]

Floats: TypeAlias = NDArray[np.float64]
_Things: TypeAlias = tuple[tuple[str, ...], tuple[str, ...], dict[str, int]]
"""Names, normalised and as they were written; places by id."""
_Facts: TypeAlias = tuple[list[int], tuple[str, ...], list[int], tuple[str, ...], list[str]]
"""Subjects, predicates normalised, objects, predicates as they were written, faults."""
_Columns: TypeAlias = "tuple[_Things, array[float], _Facts, int]"
"""Things, the sides of their boxes, relations, and how many of both were given."""
_Known: TypeAlias = dict[tuple[str, ...], _Things]
"""What was made of ids before: the answers to one question often have theirs in common."""

_KEPT: Final = 65536
_NUMBERS: Final = frozenset((int, float))
_FOUR: Final = frozenset((4,))
_ID, _BOX = itemgetter("id"), itemgetter("bbox")
_SUBJECT, _PREDICATE, _OBJECT = itemgetter("subject"), itemgetter("predicate"), itemgetter("object")


class _Names(dict[str, tuple[str, str]]):
    """Names as they are and as they were written, by what a text says; kept, for those of a dataset are few."""

    def __init__(self, read: Callable[[str], tuple[str, str] | None]) -> None:
        self._read = read

    def __missing__(self, text: str) -> tuple[str, str]:
        found = self._read(text)
        if found is None:
            raise KeyError(text)
        if len(self) > _KEPT:
            self.clear()
        self[text] = found
        return found


_OF_IDS: Final = _Names(names_of_id)
_OF_PREDICATES: Final = _Names(names_of_predicate)


def read_answers(texts: Sequence[str], frames: Sequence[Frame]) -> list[Answer]:
    """What `read_answer` makes of each text in its frame."""
    known: _Known = {}
    read = [_read(text, known) for text in texts]
    ends = [0, *accumulate([len(one[0][0]) if one is not None else 0 for one in read])]
    raw = np.frombuffer(b"".join([one[1] for one in read if one is not None])).reshape(-1, 4)
    corners, unsound = _placed(raw, np.diff(ends), frames)
    return [
        read_answer(text, frames[place])
        if one is None or place in unsound
        else _answer(text, one, corners[ends[place] : ends[place + 1]], raw[ends[place] : ends[place + 1]])
        for place, (text, one) in enumerate(zip(texts, read, strict=True))
    ]


def _answer(text: str, read: _Columns, corners: Floats, raw: Floats) -> Answer:
    (names, labels, _), _, (subjects, said, objects, predicates, faults), items = read
    return Answer(
        names=names,
        corners=corners,
        subjects=subjects,
        said=said,
        objects=objects,
        labels=labels,
        predicates=predicates,
        faults=faults,
        items=items,
        text=text,
        raw=raw,
    )


def _read(text: str, known: _Known) -> _Columns | None:
    """The things and relations of a text; None if anything may be wrong with it, but that boxes may lie anywhere."""
    whole, faults = parsed(text)
    if faults or whole is None:
        return None
    try:
        things, facts = whole["objects"], whole["relationships"]
        if not (type(things) is type(facts) is list):
            return None
        own = _things(things, known)
        return own, _boxes(things, own[0]), _facts(facts, own[2]), len(things) + len(facts)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):  # another value than is asked for
        return None


def _things(things: list[Any], known: _Known) -> _Things:
    """Names and labels of things, and the place of each by its id; no two ids are equal."""
    ids = tuple(map(_ID, things))
    found = known.get(ids)
    if found is None:
        names, labels = zip(*map(_OF_IDS.__getitem__, ids), strict=True)
        places = dict(zip(ids, range(len(ids)), strict=True))
        if len(places) != len(ids):
            raise ValueError("an id stands twice")
        found = known[ids] = names, labels, places
    return found


def _boxes(things: list[Any], names: Sequence[str]) -> array[float]:
    """The sides of all boxes, behind each other; no two have a name and a box in common."""
    boxes = list(map(_BOX, things))
    sides = list(chain.from_iterable(boxes))
    if not (_FOUR.issuperset(map(len, boxes)) and _NUMBERS.issuperset(map(type, sides))):
        raise TypeError("a box is not four numbers")
    if len(set(sides[::4])) != len(names) and len(set(zip(names, map(tuple, boxes), strict=True))) != len(names):
        raise ValueError("a thing stands twice")
    return array("d", sides)


def _facts(facts: list[Any], places: Mapping[str, int]) -> _Facts:
    """Relations of known things; where one may have a fault, each by itself."""
    if not facts:
        return [], (), [], (), []
    try:
        said, predicates = zip(*map(_OF_PREDICATES.__getitem__, map(_PREDICATE, facts)), strict=True)
        subjects = list(map(places.__getitem__, map(_SUBJECT, facts)))
        objects = list(map(places.__getitem__, map(_OBJECT, facts)))
        if not any(map(eq, subjects, objects)) and len(set(zip(subjects, said, objects, strict=True))) == len(facts):
            return subjects, said, objects, predicates, []
    except (AttributeError, KeyError, TypeError, ValueError):  # another value than is asked for
        pass
    triplets, written, faults = read_relations(facts, places)
    subjects, objects = ([triplet[end] for triplet in triplets] for end in (0, 2))
    return subjects, tuple(predicate for _, predicate, _ in triplets), objects, tuple(written), faults


def _placed(raw: Floats, counts: NDArray[np.int64], frames: Sequence[Frame]) -> tuple[Floats, set[int]]:
    """(N, 4) boxes in pixels, and the answers of which one is not in order and within its picture."""
    ids = list(map(id, frames))  # for the answers to one truth share theirs, and a frame is slow to hash
    known = dict(zip(ids, frames, strict=True))
    places = {key: place for place, key in enumerate(known)}
    rows = np.repeat(np.array([places[key] for key in ids], np.int64), counts)
    most = np.array([frame.scale for frame in known.values()], np.float64).reshape(-1, 2)
    size = np.array([(frame.width, frame.height) for frame in known.values()], np.float64).reshape(-1, 2)
    least, greatest = raw[:, :2], raw[:, 2:]
    sound = ((least >= 0) & (least < greatest) & (greatest <= most[rows])).all(1)
    owners = np.repeat(np.arange(len(frames)), counts)
    factor = np.tile(size / most, 2)
    return raw * factor[rows], set(owners[~sound].tolist())
