"""SugarCrepe and What'sUp (SVG section 4.1): which caption is true of the image?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final

import attrs

from sgforge.stages import Report
from sgforge_eval.tasks.base import (
    FileOptions,
    Predictions,
    TaskFileError,
    accuracy,
    by_group,
    field_of,
    json_value,
    rows_of,
    task_report,
)
from sgforge_eval.tasks.choice import (
    ChoiceQuestion,
    by_question,
    circular_accuracy,
    lettered,
    rotations,
    score_choices,
    shuffled,
)

__all__ = ["SugarCrepeTask", "WhatsUpTask"]

_OPPOSITES: Final = {
    "left_of": "right_of",
    "right_of": "left_of",
    "on": "under",
    "under": "on",
    "in-front_of": "behind",
    "behind": "in-front_of",
}


_QUESTION: Final = "Which of these captions is true of the image?"


class SugarCrepeTask:
    """A caption against a hard negative, asked in both orders; accuracy is the mean over both.

    Question ids are the file's keys with #0 (as in the file) and #1 (turned). A prediction under the plain key stands
    for both orders and must not depend on one: `scores` [caption, negative], or the text of the caption.
    Source: SugarCrepe (Hsieh et al. 2023).
    """

    name: ClassVar[str] = "sugarcrepe"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = FileOptions

    def __init__(self, options: FileOptions) -> None:
        self._path = options.questions

    def questions(self) -> list[ChoiceQuestion]:
        """Both orders of every question."""
        found = []
        data = json_value(self._path, "SugarCrepe file", (dict, list))
        rows = data.items() if isinstance(data, dict) else enumerate(data)
        for key, row in rows:
            where = f"{self._path}: {key}"
            captions = (field_of(row, "caption", str, where), field_of(row, "negative_caption", str, where))
            question = ChoiceQuestion(
                id=str(key),
                group=str(key),
                prompt="",
                choices=captions,
                correct=0,
                category="",
                image=field_of(row, "filename", str, where),
            )
            found += [attrs.evolve(turn, prompt=lettered(_QUESTION, turn.choices)) for turn in rotations(question)]
        return found

    def evaluate(self, predictions: Predictions) -> Report:
        """`accuracy` over both orders, `both_orders` where both must be right."""
        questions = self.questions()
        _spread(predictions, questions)
        chosen = score_choices(questions, predictions)
        return task_report(
            self.name,
            {"accuracy": accuracy(item.right for item in chosen), "both_orders": circular_accuracy(chosen)},
            predictions,
            len(chosen) // 2,
            convention="mean over both orders of the captions",
            units={
                "accuracy": map(accuracy, by_question(chosen)),
                "both_orders": map(all, by_question(chosen)),
            },
        )


def _spread(predictions: Predictions, questions: Sequence[ChoiceQuestion]) -> None:
    """Predictions under a question's plain key, given for both its orders; a letter there could mean either."""
    for question in questions:
        row = predictions.rows.get(question.group)
        if row is not None and not _is_letter(row):
            predictions.rows.setdefault(question.id, row)
    for group in {question.group for question in questions}:
        row = predictions.rows.pop(group, None)
        if row is not None and _is_letter(row):
            predictions.skipped["letter under an id of both orders: give it under id#0 and id#1"] += 1


def _is_letter(row: Mapping[str, Any]) -> bool:
    answer = row.get("answer", row.get("text"))
    return "scores" not in row and isinstance(answer, str) and len(answer.strip().strip("().")) == 1


class WhatsUpTask:
    """Four captions that differ in their preposition; the first of the file is right, they are shown shuffled.

    Question ids are image paths. In the controlled sets (A: left, right, on, under; B: left, right, in front of,
    behind) the file name says which objects and which preposition, so that pairs of opposites and sets of four can be
    counted as one. Source: What's "up" with vision-language models? (Kamath et al. 2023).
    """

    name: ClassVar[str] = "whatsup"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = FileOptions

    def __init__(self, options: FileOptions) -> None:
        self._path = options.questions

    def questions(self) -> list[ChoiceQuestion]:
        """All questions; the order of the captions depends on the image path alone."""
        found = []
        for where, row in rows_of(json_value(self._path, "What'sUp file", list), f"{self._path}: questions"):
            image = field_of(row, "image_path", str, where)
            captions = field_of(row, "caption_options", list, where)
            if len(captions) < 2:
                raise TaskFileError(f"{where}: caption_options has {len(captions)} captions: there is no choice")
            order = shuffled(len(captions), image)
            shown = tuple(str(captions[place]) for place in order)
            place = _placement(image)
            found.append(
                ChoiceQuestion(
                    id=image,
                    group="" if place is None else place[0],
                    prompt=lettered(_QUESTION, shown),
                    choices=shown,
                    correct=order.index(0),
                    category="" if place is None else place[1],
                    image=image,
                    source=order,
                )
            )
        return found

    def evaluate(self, predictions: Predictions) -> Report:
        """`accuracy`; `pair_accuracy` and `set_accuracy` where file names tell pairs and sets."""
        chosen = score_choices(self.questions(), predictions)
        values = {"accuracy": accuracy(item.right for item in chosen)}
        placed = {(item.question.group, item.question.category): item.right for item in chosen if item.question.group}
        pairs = [
            right and placed[objects, _OPPOSITES[preposition]]
            for (objects, preposition), right in placed.items()
            if preposition < _OPPOSITES[preposition] and (objects, _OPPOSITES[preposition]) in placed
        ]
        sets: dict[str, list[bool]] = {}
        for (objects, _), right in placed.items():
            sets.setdefault(objects, []).append(right)
        whole = [all(rights) for rights in sets.values() if len(rights) == 4]
        values |= {"pair_accuracy": accuracy(pairs)} if pairs else {}
        values |= {"set_accuracy": accuracy(whole)} if whole else {}
        table = by_group(((item.question.category or "unknown", item.right) for item in chosen), "preposition")
        return task_report(
            self.name,
            values,
            predictions,
            len(chosen),
            convention="accuracy over four captions",
            tables={"per_preposition": table},
            units={"accuracy": [item.right for item in chosen]},
        )


def _placement(image: str) -> tuple[str, str] | None:
    """(folder and objects, preposition) from a file name such as mug_left_of_knife.jpeg; None if it is no such name."""
    path = PurePosixPath(image)
    for preposition in sorted(_OPPOSITES, key=len, reverse=True):
        first, sign, second = path.stem.partition(f"_{preposition}_")
        if sign and first and second:
            return f"{path.parent}/{first}/{second}", preposition
    return None
