"""What answers are worth: plain and gated by dependencies, yes and no in balance, means over atoms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from sgforge.errors import GraphError
from sgforge.graph import Question

__all__ = ["Scores", "rightness", "score_answers"]

_YES: Final = 0.5
_LEAST: Final = 1e-6
"""Of an atom in the geometric mean: one wrong answer makes it small, not 0."""


@attrs.frozen
class Scores:
    """Figures in [0, 1] over the answers to one set of questions.

    `plain`: the share that is right. `gated`: the same, where an answer counts only if those that it depends on say yes
    (DSG, Cho et al. 2024; the upstream code of Generate Any Scene). `combined`: the mean of both, as upstream.
    `balanced`: the mean of `gated` over questions with the answer no and over all others, so that a judge which always
    says yes, or always no, gets at most 0.5; equal to `gated` without the former. `arithmetic`, `geometric`: means of
    P(right) over all questions (Soft-TIFA of GenEval 2). `by_kind`: P(right) by kind of question.
    """

    plain: float
    gated: float
    combined: float
    balanced: float
    arithmetic: float
    geometric: float
    by_kind: Mapping[str, float] = attrs.field(factory=dict)

    def named(self, name: str) -> float:
        """One of them by its name."""
        value: float = getattr(self, name)
        return value


def rightness(question: Question, yes: float | None) -> float:
    """P(the answer is right): 1 - P(yes) where the right answer is no; 0 for a question that was not asked.

    `yes`: P(yes), or of a question with other choices P(the right one).
    """
    if yes is None:
        return 0.0
    return 1.0 - yes if question.answer is not None and question.answer.casefold() == "no" else yes


def score_answers(questions: Sequence[Question], yes: Sequence[float | None]) -> Scores:
    """The figures for P(yes) of each question, in order, None for one that was not asked; all 0 without questions.

    Raises:
        GraphError: other than as many numbers in [0, 1] or None as there are questions.
    """
    if len(yes) != len(questions):
        raise GraphError(f"{len(questions)} questions have as many answers, not {len(yes)}")
    for place, value in enumerate(yes):
        if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 1):
            raise GraphError(f"answer {place} must be a probability in [0, 1] or null, not {value!r}")
    if not questions:
        return Scores(plain=0.0, gated=0.0, combined=0.0, balanced=0.0, arithmetic=0.0, geometric=0.0)
    right = [rightness(question, value) for question, value in zip(questions, yes, strict=True)]
    hard = [float(value >= _YES) for value in right]
    said_yes = [value is not None and value >= _YES for value in yes]
    gated = [
        value if all(said_yes[other] for other in question.dependencies) else 0.0
        for question, value in zip(questions, hard, strict=True)
    ]
    plain, gated_mean = _mean(hard), _mean(gated)
    return Scores(
        plain=plain,
        gated=gated_mean,
        combined=(plain + gated_mean) / 2,
        balanced=_balanced(questions, gated),
        arithmetic=_mean(right),
        geometric=math.exp(_mean([math.log(max(value, _LEAST)) for value in right])),
        by_kind=_by_kind(questions, right),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _balanced(questions: Sequence[Question], gated: Sequence[float]) -> float:
    sides: dict[bool, list[float]] = {}
    for question, value in zip(questions, gated, strict=True):
        sides.setdefault((question.answer or "").casefold() == "no", []).append(value)
    return _mean([_mean(values) for values in sides.values()])


def _by_kind(questions: Sequence[Question], right: Sequence[float]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for question, value in zip(questions, right, strict=True):
        found.setdefault(question.kind, []).append(value)
    return {kind: _mean(values) for kind, values in sorted(found.items())}
