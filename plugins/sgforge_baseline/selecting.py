"""Selectors by rewards: the best of each group, or the best part of all images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Literal

import attrs

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Outcome, Resources, RewardSum
from sgforge_baseline.config import BestOfOptions, TopFractionOptions

__all__ = ["BestOfSelector", "TopFractionSelector"]

NOT_CHOSEN: Final = "not-chosen"
_AT_ONCE: Final = 32
"""Images that are scored together."""


@attrs.frozen
class _Scored:
    """What is known of one image: its place among all, its group, and the credit of its graph and picture."""

    place: int
    group: str | None
    credit: float


class _Selector:
    """Scores every image once, and keeps of it no more than its credit."""

    def setup(self, resources: Resources) -> None:
        """Take the rewards."""
        self._rewards = RewardSum(resources.parts.get("rewards", ()))

    def _score(self, samples: Iterable[Sample], answers: list[Answer]) -> list[_Scored]:
        """Those that have a credit; `answers` gets an entry for each image, a failure for one that has none."""
        found = []
        for place, (group, credit) in enumerate(self._credits(iter(samples))):
            answers.append(credit if isinstance(credit, Failure) else Edit())
            if not isinstance(credit, Failure):
                found.append(_Scored(place, group, credit))
        return found

    def _credits(self, samples: Iterator[Sample]) -> Iterator[tuple[str | None, float | Failure]]:
        while batch := list(islice(samples, _AT_ONCE)):
            outcomes = [[Outcome(sample.graph, sample.image)] for sample in batch]
            for sample, (credit,) in zip(batch, self._rewards.score(batch, outcomes), strict=True):
                yield sample.values.get("group"), credit if isinstance(credit, Failure) else credit.total


class BestOfSelector(_Selector):
    """Keeps of each group of images those with the most credit."""

    def __init__(self, options: BestOfOptions) -> None:
        self._options = options

    def select(self, samples: Sequence[Sample]) -> list[Answer]:
        """One answer per sample, in order; an image that belongs to no group is the best of its own."""
        answers: list[Answer] = []
        groups: dict[Any, list[_Scored]] = {}
        for one in self._score(samples, answers):
            groups.setdefault(one.place if one.group is None else one.group, []).append(one)
        for group in groups.values():
            _choose(group, self._options.keep, self._options.others, answers)
        return answers


class TopFractionSelector(_Selector):
    """Keeps the part of all images that has the most credit."""

    def __init__(self, options: TopFractionOptions) -> None:
        self._options = options

    def select(self, samples: Sequence[Sample]) -> list[Answer]:
        """One answer per sample, in order; images that cannot be scored fail and count for nothing."""
        answers: list[Answer] = []
        found = self._score(samples, answers)
        # A hair less, so that a fraction such as 0.7 of 10, in floats more than 7, is not 8.
        keep = math.ceil(self._options.fraction * len(found) - 1e-9)
        _choose(found, keep, self._options.others, answers)
        return answers


def _choose(found: Sequence[_Scored], keep: int, others: Literal["drop", "keep"], answers: list[Answer]) -> None:
    """Answer for these images: the first `keep` by credit are chosen, of equal ones those with the lesser ids."""
    ranked = sorted(found, key=lambda one: -one.credit)
    for rank, one in enumerate(ranked, 1):
        if rank > keep and others == "drop":
            answers[one.place] = Edit.drop(NOT_CHOSEN)
            continue
        told = {"chosen": rank <= keep, "credit": one.credit, "rank": rank, "of": len(ranked)}
        answers[one.place] = Edit.value("image", None, "chosen", told)
