"""CRPE, MMBench and SEED-Bench (SVG section 4.1): multiple choice by letter."""

from __future__ import annotations

import base64
import csv
import gzip
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
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
    json_value,
    object_of,
    rows_of,
    task_report,
)
from sgforge_eval.tasks.choice import (
    ChoiceQuestion,
    Chosen,
    by_question,
    circular_accuracy,
    lettered,
    rotations,
    score_choices,
)
from sgforge_eval.tasks.saying import LETTERS

__all__ = ["CrpeTask", "MMBenchOptions", "MMBenchTask", "SeedTask"]

_CRPE_TURNS = 4
_MMBENCH_SPAN = 1_000_000
_INDEX_DIGITS = 16


@attrs.frozen
class MMBenchOptions:
    """`questions`: the public TSV, .gz too. `circular`: rows are asked in every rotation of their choices."""

    questions: Path
    circular: bool = True


class CrpeTask:
    """Circular relation probing: four rotations of a question, right only if all four are.

    Source: The All-Seeing Project V2, eval_crpe. An answer longer than one letter is wrong there, and here.
    """

    name: ClassVar[str] = "crpe"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = FileOptions

    def __init__(self, options: FileOptions) -> None:
        self._path = options.questions

    def questions(self) -> list[ChoiceQuestion]:
        """All questions in the order of the file; four neighbours of one category are one group."""
        counts: dict[str, int] = {}
        found = []
        for where, row in json_lines(self._path, "CRPE questions"):
            category = field_of(row, "category", str, where)
            letter = field_of(row, "correct_option", str, where)
            if letter not in LETTERS or len(letter) != 1:
                raise TaskFileError(f"{where}: correct_option {letter!r} is not one letter")
            turn = counts[category] = counts.get(category, 0) + 1
            text = field_of(row, "text", str, where)
            found.append(
                ChoiceQuestion(
                    id=str(field_of(row, "question_id", (str, int), where)),
                    group=f"{category}/{(turn - 1) // _CRPE_TURNS}",
                    prompt=text,
                    choices=tuple(LETTERS[: max(_CRPE_TURNS, LETTERS.index(letter) + 1)]),
                    correct=LETTERS.index(letter),
                    category=category,
                    image=row.get("image"),
                )
            )
        uneven = [category for category, count in counts.items() if count % _CRPE_TURNS]
        if uneven:
            raise TaskFileError(f"{self._path}: category {uneven[0]} has {counts[uneven[0]]} questions, not fours")
        return found

    def evaluate(self, predictions: Predictions) -> Report:
        """`accuracy` is circular over all; "relation" is the mean over subject, predicate and object."""
        chosen = score_choices(self.questions(), predictions, strict=True)
        categories = list(dict.fromkeys(item.question.category for item in chosen))
        each = {
            category: circular_accuracy(item for item in chosen if item.question.category == category)
            for category in categories
        }
        values = {"accuracy": circular_accuracy(chosen), "vanilla_accuracy": accuracy(item.right for item in chosen)}
        parts = [each[name] for name in ("subject", "predicate", "object") if name in each]
        if parts:
            values["relation"] = sum(parts) / len(parts)
        table = [
            {"category": name, "questions": sum(item.question.category == name for item in chosen), "accuracy": value}
            for name, value in each.items()
        ]
        return task_report(
            self.name,
            values,
            predictions,
            len(chosen),
            convention="circular: all four rotations right, answers of one letter",
            tables={"per_category": table},
            units=_crpe_units(chosen),
        )


def _crpe_units(chosen: Sequence[Chosen]) -> dict[str, list[bool]]:
    """Scores of groups; the mean over three categories is one over their groups where they are equally many."""
    units = {"accuracy": list(map(all, by_question(chosen))), "vanilla_accuracy": [item.right for item in chosen]}
    parts = [
        list(map(all, by_question(item for item in chosen if item.question.category == name)))
        for name in ("subject", "predicate", "object")
    ]
    if len({len(part) for part in parts if part}) == 1:
        units["relation"] = [right for part in parts for right in part]
    return units


class MMBenchTask:
    """MMBench: TSV of questions with up to four choices; CircularEval over the rotations of a question."""

    name: ClassVar[str] = "mmbench"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = MMBenchOptions

    def __init__(self, options: MMBenchOptions) -> None:
        self._options = options

    def _rows(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        path = self._options.questions
        # Pictures stand in the file as base64: far above the csv module's limit for a field.
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        try:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8", newline="") as stream:
                for number, row in enumerate(csv.DictReader(stream, delimiter="\t"), 2):
                    yield f"{path}:{number}", row
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise TaskFileError(f"MMBench file {path} cannot be read: {error}") from None

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """The pictures that the file holds, each under the index of its row."""
        for where, row in self._rows():
            index = row.get("index") or ""
            if index.isdigit() and _picture_of(row) == index:
                try:
                    yield index, base64.b64decode(row["image"], validate=True)
                except ValueError:
                    raise TaskFileError(f"{where}: image is no base64, which is what the format says") from None

    def questions(self) -> list[ChoiceQuestion]:
        """All questions; a file without rotations of its own is rotated if `circular`, its ids then end in #turn."""
        found = []
        for where, row in self._rows():
            index = field_of(row, "index", str, where)
            if not index.isdigit():
                raise TaskFileError(f"{where}: index {index!r} is not a number")
            choices = tuple(choice for letter in "ABCD" if (choice := row.get(letter) or ""))
            letter = field_of(row, "answer", str, where)
            if letter not in LETTERS[: len(choices)] or not letter:
                raise TaskFileError(f"{where}: answer {letter!r} is none of its {len(choices)} choices")
            hint = (row.get("hint") or "").strip()
            text = "\n".join(part for part in (hint, field_of(row, "question", str, where)) if part)
            group = str(int(index) % _MMBENCH_SPAN)
            category = row.get("category") or ""
            found.append(
                ChoiceQuestion(
                    id=index,
                    group=group,
                    prompt=text,
                    choices=choices,
                    correct=LETTERS.index(letter),
                    category=category,
                    image=_picture_of(row),
                )
            )
        is_rotated = len({question.group for question in found}) < len(found)
        if self._options.circular and not is_rotated:
            found = [turn for question in found for turn in rotations(question)]
        return [attrs.evolve(question, prompt=lettered(question.prompt, question.choices)) for question in found]

    def evaluate(self, predictions: Predictions) -> Report:
        """`accuracy` is circular where rotations are asked; `vanilla_accuracy` over single questions."""
        chosen = score_choices(self.questions(), predictions)
        values = {"accuracy": circular_accuracy(chosen), "vanilla_accuracy": accuracy(item.right for item in chosen)}
        return task_report(
            self.name,
            values,
            predictions,
            len(chosen),
            convention="circular" if self._options.circular else "vanilla",
            tables={"per_category": _circular_table(chosen)},
            units={
                "accuracy": map(all, by_question(chosen)),
                "vanilla_accuracy": [item.right for item in chosen],
            },
        )


def _picture_of(row: Mapping[str, str]) -> str | None:
    """The index of the row that holds the picture of a row: its own, or the one that stands in the picture's place."""
    image = (row.get("image") or "").strip()
    if image.isdigit() and len(image) <= _INDEX_DIGITS:
        return image
    return row.get("index") if image else None


def _circular_table(chosen: Sequence[Chosen]) -> list[dict[str, Any]]:
    categories = dict.fromkeys(item.question.category for item in chosen)
    table = []
    for category in categories:
        own = [item for item in chosen if item.question.category == category]
        table.append({"category": category, "questions": len(own), "accuracy": circular_accuracy(own)})
    return table


class SeedTask:
    """SEED-Bench, image part: four choices, plain accuracy."""

    name: ClassVar[str] = "seed"
    shows_images: ClassVar[bool] = True
    options: ClassVar[type[Any]] = FileOptions

    def __init__(self, options: FileOptions) -> None:
        self._path = options.questions

    def questions(self) -> list[ChoiceQuestion]:
        """The questions about images; those about videos are left out."""
        data = json_value(self._path, "SEED-Bench file", dict)
        kinds = object_of(data.get("question_type") or {}, f"{self._path}: question_type")
        types = {str(number): name for name, number in kinds.items()}
        found = []
        for where, row in rows_of(field_of(data, "questions", list, str(self._path)), f"{self._path}: questions"):
            if row.get("data_type", "image") != "image":
                continue
            choices = tuple(str(field_of(row, f"choice_{letter}", (str, int, float), where)) for letter in "abcd")
            letter = field_of(row, "answer", str, where)
            if letter not in "ABCD" or not letter:
                raise TaskFileError(f"{where}: answer {letter!r} is not A, B, C or D")
            key = str(field_of(row, "question_id", (str, int), where))
            kind = str(row.get("question_type_id", ""))
            prompt = lettered(field_of(row, "question", str, where), choices)
            image = row.get("data_id")
            found.append(
                ChoiceQuestion(
                    id=key,
                    group=key,
                    prompt=prompt,
                    choices=choices,
                    correct=LETTERS.index(letter),
                    category=types.get(kind, kind),
                    image=image,
                )
            )
        return found

    def evaluate(self, predictions: Predictions) -> Report:
        """Plain accuracy over all, and per question type."""
        chosen = score_choices(self.questions(), predictions)
        table = by_group(((item.question.category, item.right) for item in chosen), "category")
        right = [item.right for item in chosen]
        return task_report(
            self.name,
            {"accuracy": accuracy(right)},
            predictions,
            len(chosen),
            convention="accuracy",
            tables={"per_category": table},
            units={"accuracy": right},
        )
