"""GQA (SVG section 4.1), VQAv2 and A-OKVQA (section 4.5, Figure 5): short free answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from sgforge.stages import Report
from sgforge_eval.tasks.base import (
    Predictions,
    TaskFileError,
    accuracy,
    by_group,
    field_of,
    json_value,
    object_of,
    rows_of,
    task_report,
)
from sgforge_eval.tasks.choice import ChoiceQuestion, lettered, score_choices
from sgforge_eval.tasks.vqa_text import exact_text, match_share, soft_accuracy

__all__ = ["AokvqaOptions", "AokvqaTask", "GqaOptions", "GqaTask", "OpenQuestion", "VqaOptions", "VqaTask"]


@attrs.frozen
class OpenQuestion:
    """A question with its accepted answers (GQA: one; VQA: what ten people said); `kind` groups the table."""

    id: str
    image: str
    question: str
    answers: tuple[str, ...]
    kind: str = ""

    @property
    def prompt(self) -> str:
        """The whole text to ask."""
        return f"{self.question}\nReply with one word or a short phrase and nothing else."


def _answer(row: Mapping[str, Any] | None, predictions: Predictions) -> str | None:
    if row is None:
        return None
    answer = row.get("answer", row.get("text"))
    if isinstance(answer, (str, int, float)) and not isinstance(answer, bool):
        return str(answer)
    predictions.skipped["answer that is no text, counted as wrong"] += 1
    return None


@attrs.frozen
class GqaOptions:
    """`questions`: a GQA questions file. `balanced`: only questions of the balanced set, where the file marks them."""

    questions: Path
    balanced: bool = True


class GqaTask:
    """Exact match, without case, outer blanks and a final full stop. Source: GQA (Hudson and Manning 2019)."""

    name: ClassVar[str] = "gqa"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = GqaOptions

    def __init__(self, options: GqaOptions) -> None:
        self._options = options

    def open_questions(self) -> list[OpenQuestion]:
        """The questions, in the order of the file."""
        path = self._options.questions
        found = []
        for key, row in json_value(path, "GQA file", dict).items():
            where = f"{path}: {key}"
            if self._options.balanced and object_of(row, where).get("isBalanced") is False:
                continue
            kind = str(object_of(row.get("types") or {}, where).get("structural") or "")
            answer = field_of(row, "answer", str, where)
            image = str(field_of(row, "imageId", (str, int), where))
            found.append(
                OpenQuestion(
                    id=str(key),
                    image=image,
                    question=field_of(row, "question", str, where),
                    answers=(answer,),
                    kind=kind,
                )
            )
        return found

    def evaluate(self, predictions: Predictions) -> Report:
        """Accuracy over all, and per structural type."""
        questions = self.open_questions()
        predictions.check(question.id for question in questions)
        right = []
        for question in questions:
            answer = _answer(predictions.get(question.id), predictions)
            right.append(answer is not None and exact_text(answer) == exact_text(question.answers[0]))
        table = by_group(((item.kind, ok) for item, ok in zip(questions, right, strict=True)), "type")
        return task_report(
            self.name,
            {"accuracy": accuracy(right)},
            predictions,
            len(questions),
            convention="exact match",
            tables={"per_type": table},
            units={"accuracy": right},
        )


@attrs.frozen
class VqaOptions:
    """`questions`, `annotations`: the two VQAv2 files."""

    questions: Path
    annotations: Path


class VqaTask:
    """Soft accuracy against ten answers. Source: VQA (Antol et al. 2015), its evaluation page."""

    name: ClassVar[str] = "vqa"
    options: ClassVar[type[Any]] = VqaOptions

    def __init__(self, options: VqaOptions) -> None:
        self._options = options

    def open_questions(self) -> list[OpenQuestion]:
        """The annotated questions, in the order of the annotations."""
        texts = {}
        data = json_value(self._options.questions, "VQA questions", dict)
        path = self._options.questions
        for where, row in rows_of(field_of(data, "questions", list, str(path)), f"{path}: questions"):
            texts[str(field_of(row, "question_id", int, where))] = field_of(row, "question", str, where)
        return list(self._annotated(texts))

    def _annotated(self, texts: Mapping[str, str]) -> Iterator[OpenQuestion]:
        path = self._options.annotations
        data = json_value(path, "VQA annotations", dict)
        for where, row in rows_of(field_of(data, "annotations", list, str(path)), f"{path}: annotations"):
            key = str(field_of(row, "question_id", int, where))
            if key not in texts:
                raise TaskFileError(f"{where}: question {key} is not in {self._options.questions}")
            answers = tuple(field_of(answer, "answer", str, where) for answer in field_of(row, "answers", list, where))
            kind = str(row.get("answer_type", ""))
            yield OpenQuestion(
                id=key,
                image=str(field_of(row, "image_id", int, where)),
                question=texts[key],
                answers=answers,
                kind=kind,
            )

    def evaluate(self, predictions: Predictions) -> Report:
        """Soft accuracy over all, and per answer type."""
        convention = "min(1, matches / 3), mean over the sets without one of the answers"
        return _soft_report(self.name, self.open_questions(), predictions, soft_accuracy, convention)


def _soft_report(
    name: str,
    questions: Sequence[OpenQuestion],
    predictions: Predictions,
    rule: Callable[[str, Sequence[str]], float],
    convention: str,
) -> Report:
    predictions.check(question.id for question in questions)
    scores = []
    for question in questions:
        answer = _answer(predictions.get(question.id), predictions)
        scores.append(0.0 if answer is None else rule(answer, question.answers))
    table = by_group(((question.kind, score) for question, score in zip(questions, scores, strict=True)), "type")
    return task_report(
        name,
        {"accuracy": accuracy(scores)},
        predictions,
        len(questions),
        convention=convention,
        tables={"per_type": table},
        units={"accuracy": scores},
    )


@attrs.frozen
class AokvqaOptions:
    """`questions`: an A-OKVQA split. `direct`: score direct answers instead of the choice."""

    questions: Path
    direct: bool = False


class AokvqaTask:
    """Multiple choice by letter or text, or direct answers by its own rule. Source: A-OKVQA (Schwenk et al. 2022)."""

    name: ClassVar[str] = "aokvqa"
    options: ClassVar[type[Any]] = AokvqaOptions

    def __init__(self, options: AokvqaOptions) -> None:
        self._options = options
        self.direct = options.direct

    def _rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        path = self._options.questions
        yield from rows_of(json_value(path, "A-OKVQA file", list), f"{path}: questions")

    def questions(self) -> list[ChoiceQuestion]:
        """The questions as choices between four."""
        found = []
        for where, row in self._rows():
            key = field_of(row, "question_id", str, where)
            choices = tuple(map(str, field_of(row, "choices", list, where)))
            correct = field_of(row, "correct_choice_idx", int, where)
            if not 0 <= correct < len(choices):
                raise TaskFileError(f"{where}: correct_choice_idx {correct} is none of its {len(choices)} choices")
            text = lettered(field_of(row, "question", str, where), choices)
            found.append(
                ChoiceQuestion(
                    id=key,
                    group=key,
                    prompt=text,
                    choices=choices,
                    correct=correct,
                    category="",
                    image=str(row.get("image_id", "")),
                )
            )
        return found

    def open_questions(self) -> list[OpenQuestion]:
        """The questions with their direct answers; those marked as difficult for direct answers are left out."""
        return [
            OpenQuestion(
                field_of(row, "question_id", str, where),
                str(row.get("image_id", "")),
                field_of(row, "question", str, where),
                tuple(map(str, field_of(row, "direct_answers", list, where))),
            )
            for where, row in self._rows()
            if not row.get("difficult_direct_answer")
        ]

    def evaluate(self, predictions: Predictions) -> Report:
        """Accuracy of the choice, or of direct answers."""
        if self._options.direct:
            convention = "min(1, matches / 3) over all answers, letter for letter"
            return _soft_report(self.name, self.open_questions(), predictions, match_share, convention)
        chosen = score_choices(self.questions(), predictions)
        right = [item.right for item in chosen]
        return task_report(
            self.name,
            {"accuracy": accuracy(right)},
            predictions,
            len(chosen),
            convention="accuracy over four choices",
            units={"accuracy": right},
        )
