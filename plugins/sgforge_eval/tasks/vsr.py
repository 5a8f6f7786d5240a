"""Visual Spatial Reasoning (SVG section 4.1): is a caption about two things true of the image? Yes or no."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from sgforge.stages import Report
from sgforge_eval.tasks.base import (
    FileOptions,
    Predictions,
    TaskFileError,
    accuracy,
    by_group,
    field_of,
    json_lines,
    task_report,
)
from sgforge_eval.tasks.choice import ChoiceQuestion
from sgforge_eval.tasks.saying import yes_or_no

__all__ = ["VsrQuestion", "VsrTask"]


@attrs.frozen
class VsrQuestion:
    """A caption, whether it is true, the relation it is about, its image."""

    id: str
    caption: str
    label: bool
    relation: str
    image: str

    @property
    def prompt(self) -> str:
        """The whole text to ask."""
        return f'Is this statement about the image true? "{self.caption}" Reply with yes or no and nothing else.'

    def as_choice(self) -> ChoiceQuestion:
        """The question as a choice between Yes and No, for asking."""
        return ChoiceQuestion(
            id=self.id,
            group=self.id,
            prompt=self.prompt,
            choices=("Yes", "No"),
            correct=0 if self.label else 1,
            category=self.relation,
            image=self.image,
        )


class VsrTask:
    """Accuracy, and precision, recall and F1 of "true". Ids are line numbers from 0.

    Source: Visual Spatial Reasoning (Liu et al. 2023).
    """

    name: ClassVar[str] = "vsr"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = FileOptions

    def __init__(self, options: FileOptions) -> None:
        self._path = options.questions

    def statements(self) -> list[VsrQuestion]:
        """All statements, in the order of the file."""
        found = []
        for number, (where, row) in enumerate(json_lines(self._path, "VSR file")):
            label = field_of(row, "label", int, where)
            if label not in (0, 1):
                raise TaskFileError(f"{where}: label is {label}, neither 0 nor 1")
            found.append(
                VsrQuestion(
                    id=str(number),
                    caption=field_of(row, "caption", str, where),
                    label=bool(label),
                    relation=field_of(row, "relation", str, where),
                    image=field_of(row, "image", str, where),
                )
            )
        return found

    def questions(self) -> list[ChoiceQuestion]:
        """All statements as choices between Yes and No."""
        return [statement.as_choice() for statement in self.statements()]

    def evaluate(self, predictions: Predictions) -> Report:
        """What says neither yes nor no is wrong and counted."""
        statements = self.statements()
        predictions.check(statement.id for statement in statements)
        said = [self._said(predictions.get(statement.id), predictions) for statement in statements]
        right = [answer is statement.label for answer, statement in zip(said, statements, strict=True)]
        both = sum(answer is True and statement.label for answer, statement in zip(said, statements, strict=True))
        claimed, true = sum(answer is True for answer in said), sum(statement.label for statement in statements)
        values = {
            "accuracy": accuracy(right),
            "precision": both / claimed if claimed else 0.0,
            "recall": both / true if true else 0.0,
            "F1": 2 * both / (claimed + true) if claimed + true else 0.0,
        }
        table = by_group(((item.relation, ok) for item, ok in zip(statements, right, strict=True)), "relation")
        return task_report(
            self.name,
            values,
            predictions,
            len(statements),
            convention="accuracy of yes and no",
            tables={"per_relation": table},
            units={"accuracy": right},
        )

    @staticmethod
    def _said(row: Mapping[str, Any] | None, predictions: Predictions) -> bool | None:
        if row is None:
            return None
        answer = yes_or_no(row.get("answer", row.get("text")))
        if answer is None:
            predictions.skipped["answer that says neither yes nor no, counted as wrong"] += 1
        return answer
