"""The same questions asked of real photos: how often a judge agrees with the graphs of a dataset, by predicate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from sgforge.graph import Question, Sample

__all__ = ["Audit", "Row", "audit", "wilson"]

_Z: Final = 1.959963984540054
"""Of 95 %."""


@attrs.frozen
class Row:
    """How many elements of one name were asked about, and to how many the judge said yes; the 95 % Wilson interval."""

    name: str
    asked: int
    yes: int
    low: float
    high: float

    @property
    def precision(self) -> float:
        """The share that the judge confirms."""
        return self.yes / self.asked


@attrs.frozen
class Audit:
    """Predicates, labels and attributes, the worst first (by the upper end of their interval).

    `said_yes_to_false`: the share of questions with the answer no to which the judge said yes: with a high one its yes
    means little. `skipped`: images without answers, and questions that were not asked, by reason.
    """

    predicates: tuple[Row, ...]
    labels: tuple[Row, ...]
    attributes: tuple[Row, ...]
    said_yes_to_false: float | None
    images: int
    skipped: Mapping[str, int]


def wilson(yes: int, asked: int, z: float = _Z) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    share = yes / asked
    scale = 1 + z * z / asked
    middle = share + z * z / (2 * asked)
    reach = z * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def audit(samples: Iterable[Sample], threshold: float = 0.5) -> Audit:
    """What the answers of a judge, which stand with the samples, say about their graphs."""
    found: dict[str, dict[str, list[bool]]] = {"relation": {}, "existence": {}, "attribute": {}}
    false: list[bool] = []
    skipped: Counter[str] = Counter()
    images = 0
    for sample in samples:
        answers = sample.values.get("answers")
        questions: Sequence[Question] = sample.values.get("questions", ())
        yes = answers.get("yes") if isinstance(answers, Mapping) else None
        if not yes or len(yes) != len(questions):
            skipped["images without answers"] += 1
            continue
        images += 1
        names = _names(sample, questions)
        for place, (question, value) in enumerate(zip(questions, yes, strict=True)):
            if value is None:
                skipped["questions not asked"] += 1
            elif question.answer == "no":
                false.append(value >= threshold)
            elif place in names:
                found[question.kind].setdefault(names[place], []).append(value >= threshold)
    rows = {kind: _rows(by_name) for kind, by_name in found.items()}
    share = sum(false) / len(false) if false else None
    return Audit(
        predicates=rows["relation"],
        labels=rows["existence"],
        attributes=rows["attribute"],
        said_yes_to_false=share,
        images=images,
        skipped=dict(skipped),
    )


def _names(sample: Sample, questions: Sequence[Question]) -> dict[int, str]:
    """Of the questions whose answer is yes the predicate, label or attribute that each is about."""
    regions = sample.graph.regions
    relations = list(sample.graph.relations.values())
    found: dict[int, str] = {}
    for place, question in enumerate(questions):
        if question.answer != "yes" or not all(index in regions for index in question.references):
            continue
        if question.kind == "existence":
            found[place] = regions[question.references[0]].label or ""
        elif question.kind == "attribute":
            words = [word for word in regions[question.references[0]].attributes if question.text.endswith(f" {word}?")]
            if words:
                found[place] = max(words, key=len)
        elif question.kind == "relation":
            # They stand in the order of the relations, one each.
            row = next((row for row in relations if (row.subject, row.object) == question.references), None)
            if row is not None:
                relations.remove(row)
                found[place] = row.predicate
    return found


def _rows(by_name: Mapping[str, Sequence[bool]]) -> tuple[Row, ...]:
    rows = []
    for name, values in by_name.items():
        low, high = wilson(sum(values), len(values))
        rows.append(Row(name=name, asked=len(values), yes=sum(values), low=low, high=high))
    return tuple(sorted(rows, key=lambda row: (row.high, row.name)))
