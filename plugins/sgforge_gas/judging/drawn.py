"""The judge `drawn`: answers from what the renderer `procedural` noted in its picture; an oracle for such pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from sgforge.edits import Edit
from sgforge.errors import ImageError
from sgforge.graph import Question, Sample
from sgforge.images import ImageSource
from sgforge.stages import Answer, Failure
from sgforge_gas.config import DrawnJudgeOptions
from sgforge_gas.judging.model_judge import answered
from sgforge_gas.rendering.layout import Drawn, true_places
from sgforge_gas.rendering.procedural import NOTE
from sgforge_gas.vocabulary import english

__all__ = ["DrawnJudge", "answers_of", "noted"]

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class DrawnJudge:
    """P(yes) is 1 or 0, as the picture notes."""

    def __init__(self, options: DrawnJudgeOptions) -> None:
        self.options = options

    def judge(self, samples: Sequence[Sample]) -> list[Answer]:
        """The answers of each; a picture of another renderer fails with reason no-note, one that is gone with image."""
        return [self._answer(sample) for sample in samples]

    def _answer(self, sample: Sample) -> Answer:
        questions: Sequence[Question] = sample.values.get("questions", ())
        if not questions:
            return Failure("no-questions", f"image {sample.image_id} has no questions: put a question step before")
        if sample.image is None:
            return Failure("no-image", f"image {sample.image_id} has no picture")
        try:
            things = noted(sample.image)
        except ImageError as error:
            return Failure("image", str(error))
        if things is None:
            return Failure("no-note", f"the picture of {sample.image_id} was not drawn by the renderer procedural")
        edit: Edit = answered(questions, answers_of(things, questions), self.options.score)
        return edit


def noted(image: ImageSource) -> list[Drawn] | None:
    """What a picture notes that was drawn; None of any other picture. One that cannot be read is an `ImageError`."""
    text = image.pil().info.get(NOTE)
    try:
        return [Drawn(**row) for row in json.loads(text)] if text else None
    except (TypeError, ValueError):
        return None


def answers_of(things: Sequence[Drawn], questions: Sequence[Question]) -> list[float]:
    """1 for yes and for a right choice, 0 for no: what the drawn things say to each question."""
    truths = frozenset(_truths(things))
    counts = Counter(thing.label for thing in things)
    found = []
    for question in questions:
        if question.kind == "count":
            plurals = {f"How many {english.plural(label)} are there?": count for label, count in counts.items()}
            found.append(float(str(plurals.get(question.text, 0)) == question.answer))
        else:
            found.append(float(question.text in truths))
    return found


def _truths(things: Sequence[Drawn]) -> Iterator[str]:
    """Every question of our questioner to which these things say yes, whatever else the asked graph holds."""
    labels = Counter(thing.label for thing in things)
    for label, count in labels.items():
        yield f"Is there {english.article(label)} {label}?"
        for number in range(2, count + 1):
            yield f"Are there at least {_NUMBERS[number]} {english.plural(label)}?"
    looks = Counter((thing.label, word) for thing in things for word in _words(thing))
    for (label, word), count in looks.items():
        yield f"Is the {label} {word}?"
        yield f"Is one of the {english.plural(label)} {word}?"
        for number in range(2, count + 1):
            yield f"Are at least {_NUMBERS[number]} of the {english.plural(label)} {word}?"
    said = Counter((things[a].label, predicate, things[b].label) for a, predicate, b in true_places(things))
    for (subject, predicate, object_), count in said.items():
        for one in (f"the {subject}", f"one of the {english.plural(subject)}"):
            for other in (f"the {object_}", f"one of the {english.plural(object_)}"):
                yield f"Is {one} {predicate} {other}?"
                if count > 1:
                    yield f"Is {one.replace('one of', 'another one of')} {predicate} {other}?"


def _words(thing: Drawn) -> Iterator[Any]:
    looks = attrs.asdict(thing)
    yield from (looks[field] for field in ("colour", "texture", "size") if looks[field])
