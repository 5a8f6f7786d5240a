"""One scorer for multiple choice: letters in an order that is fixed by the question, circular where asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from sgforge_eval.tasks.base import Predictions, accuracy
from sgforge_eval.tasks.saying import LETTERS, chosen_letter

__all__ = [
    "ChoiceQuestion",
    "Chosen",
    "by_question",
    "circular_accuracy",
    "lettered",
    "rotations",
    "score_choices",
    "shuffled",
]


@attrs.frozen
class ChoiceQuestion:
    """A question with its choices as they are shown, A first; `correct` is the index of the right one.

    Questions of one `group` are the same question in another order of choices (circular evaluation). `source` (one
    index per shown choice) is its place in the file. `prompt` is the whole text to ask; `image` a path or None.
    """

    id: str
    group: str
    prompt: str
    choices: tuple[str, ...]
    correct: int
    category: str = ""
    image: str | None = None
    source: tuple[int, ...] = ()


@attrs.frozen
class Chosen:
    """What a prediction chose: the index of the shown choice, or None with the reason."""

    question: ChoiceQuestion
    index: int | None
    reason: str = ""

    @property
    def right(self) -> bool:
        """Whether the right choice was taken."""
        return self.index == self.question.correct


def lettered(question: str, choices: Sequence[str]) -> str:
    """The whole text of a question whose choices are named by letters."""
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return f"{question}\n{listed}\nReply with the letter of the right option and nothing else."


def shuffled(count: int, key: str) -> tuple[int, ...]:
    """An order of `count` choices that depends on `key` alone, so that asking and scoring agree for ever."""
    digests = [hashlib.sha256(f"{key}\0{index}".encode()).digest() for index in range(count)]
    return tuple(sorted(range(count), key=digests.__getitem__))


def rotations(question: ChoiceQuestion) -> list[ChoiceQuestion]:
    """The question with its choices rotated by 0, 1, ...; ids end in #0, #1, ..., the group is the question's own."""
    count = len(question.choices)
    source = question.source or tuple(range(count))
    return [
        attrs.evolve(
            question,
            id=f"{question.id}#{turn}",
            group=question.group,
            choices=question.choices[turn:] + question.choices[:turn],
            source=source[turn:] + source[:turn],
            correct=(question.correct - turn) % count,
        )
        for turn in range(count)
    ]


def _chosen(question: ChoiceQuestion, row: Mapping[str, Any] | None, *, strict: bool) -> Chosen:
    if row is None:
        return Chosen(question, None, "no answer")
    if "scores" in row:
        return _by_scores(question, row["scores"])
    answer = row.get("answer", row.get("text"))
    if isinstance(answer, int) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str):
        return Chosen(question, None, "answer that is no text")
    index = chosen_letter(answer, question.choices, strict=strict)
    return Chosen(question, index, "" if index is not None else "answer that names no choice")


def _by_scores(question: ChoiceQuestion, scores: Any) -> Chosen:
    """The choice of highest score; `scores` has one finite number per choice, in the order of the file."""
    count = len(question.choices)
    if not (isinstance(scores, list) and len(scores) == count and all(map(_is_finite, scores))):
        return Chosen(question, None, "answer whose scores are not one number per choice")
    source = question.source or tuple(range(count))
    best = max(range(count), key=lambda index: scores[index])
    # Equal scores for all are no choice; a tie with the best is not won.
    return Chosen(question, source.index(best) if scores.count(scores[best]) == 1 else None, "tied scores")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def score_choices(
    questions: Iterable[ChoiceQuestion], predictions: Predictions, *, strict: bool = False
) -> list[Chosen]:
    """What was chosen for every question; what names no choice is wrong, and counted by reason in `predictions`."""
    listed = list(questions)
    predictions.check(question.id for question in listed)
    found = [_chosen(question, predictions.get(question.id), strict=strict) for question in listed]
    for chosen in found:
        if chosen.index is None and chosen.reason != "no answer":
            predictions.skipped[f"{chosen.reason}, counted as wrong"] += 1
    return found


def by_question(chosen: Iterable[Chosen]) -> list[list[bool]]:
    """Which of each group of questions are right, in order of first occurrence."""
    groups: dict[str, list[bool]] = {}
    for item in chosen:
        groups.setdefault(item.question.group, []).append(item.right)
    return list(groups.values())


def circular_accuracy(chosen: Iterable[Chosen]) -> float:
    """The share of groups of which every question is right."""
    return accuracy(map(all, by_question(chosen)))
