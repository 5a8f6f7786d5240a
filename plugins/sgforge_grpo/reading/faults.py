"""What is wrong with the things of many answers, found in all of them at once."""

from __future__ import annotations

from typing import Final

import numpy as np

from sgforge_grpo.reading.columns import Floats, Ints

__all__ = ["faults_by_answer", "faults_of_relations", "repeated_things"]

_FAULTS: Final = ("", "unknown-id", "self-relation", "duplicate-relation")
_UNKNOWN, _ITSELF, _AGAIN = 1, 2, 3


def repeated_things(owners: Ints, names: Ints, corners: Floats) -> Ints:
    """Answers in which two things may have a name and a box in common: they do have a name and a side.

    `owners`, `names`, `corners`: of each thing its answer, its name, and its box (N, 4).
    """
    # Of other things it is hardly ever the same number; where it is, reading them one by one tells them apart.
    left = (corners[:, 0] + 0.0).view(np.int64)
    keys = left * 1_000_003 + owners * (names.max(initial=0) + 1) + names
    order = keys.argsort()
    keys = keys[order]
    return owners[order[1:][keys[1:] == keys[:-1]]]


def faults_of_relations(owners: Ints, subjects: Ints, predicates: Ints, objects: Ints) -> Ints:
    """What is wrong with each relation, 0 for nothing; `faults_by_answer` says it in words.

    `owners`: the answer of each. `subjects`, `objects`: places, below 0 where there is none.
    """
    faults = np.where(subjects == objects, _ITSELF, 0)
    faults[(subjects < 0) | (objects < 0)] = _UNKNOWN
    sound = np.flatnonzero(faults == 0)
    keys = owners[sound]
    for values in (subjects, predicates, objects):
        keys = keys * (values.max(initial=0) + 1) + values[sound]
    order = keys.argsort(kind="stable")
    # The first of equal ones is the one that counts.
    faults[sound[order[1:]][keys[order[1:]] == keys[order[:-1]]]] = _AGAIN
    return faults


def faults_by_answer(owners: Ints, faults: Ints, count: int) -> list[list[str]]:
    """The faults of the relations of each of so many answers, in their order."""
    found: list[list[str]] = [[] for _ in range(count)]
    places = np.flatnonzero(faults)
    for owner, fault in zip(owners[places].tolist(), faults[places].tolist(), strict=True):
        found[owner].append(_FAULTS[fault])
    return found
