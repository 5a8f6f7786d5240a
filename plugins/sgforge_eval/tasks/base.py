"""What all tasks share: reading files strictly, predictions by id, and the report."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import attrs

from sgforge.errors import ConfigError
from sgforge.stages import Report

__all__ = [
    "Asked",
    "FileOptions",
    "Predictions",
    "Task",
    "TaskFileError",
    "accuracy",
    "by_group",
    "field_of",
    "json_lines",
    "json_value",
    "object_of",
    "read_predictions",
    "rows_of",
    "scored",
    "task_report",
]


class TaskFileError(ConfigError):
    """A file of a task, or its predictions, that is not as its format says."""


@attrs.frozen
class FileOptions:
    """`questions`: the task's public file, .gz too."""

    questions: Path


@attrs.frozen
class Asked:
    """One question as it is put: its id, the whole text, the image by name or None."""

    id: str
    prompt: str
    image: str | None


class Task(Protocol):
    """One task: built from its options, which name its files, it scores a file of predictions."""

    name: ClassVar[str]
    options: ClassVar[type[Any]]

    def __init__(self, options: Any) -> None: ...

    def evaluate(self, predictions: Predictions) -> Report:
        """Score predictions, one JSON object a line, by the id of the question."""


def _open_text(path: Path, what: str) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TaskFileError(f"{what} {path} cannot be read: {error}") from None


def json_value(path: Path, what: str, kind: type[Any] | tuple[type[Any], ...]) -> Any:
    """The JSON value of a file (.gz too), which must be of this Python type."""
    try:
        value = json.loads(_open_text(path, what))
    except json.JSONDecodeError as error:
        raise TaskFileError(f"{what} {path} is not JSON: {error}") from None
    if not isinstance(value, kind):
        raise TaskFileError(f"{what} {path} does not hold what its format says: a JSON {type(value).__name__} is there")
    return value


def json_lines(path: Path, what: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """("path:line", object) of each line of a JSONL file (.gz too); blank lines are skipped."""
    for where, line in _text_lines(path, what):
        try:
            yield where, _json_object(line)
        except ValueError as error:
            raise TaskFileError(f"{what} {where} {error}") from None


def _text_lines(path: Path, what: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_open_text(path, what).split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line


def _json_object(line: str) -> Mapping[str, Any]:
    """The object of a line; anything else is a `ValueError` that says so."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def rows_of(rows: Iterable[Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """("where[place]", object) of each row of a list; a row that is no object is an error."""
    for place, row in enumerate(rows):
        yield f"{where}[{place}]", object_of(row, f"{where}[{place}]")


def object_of(value: Any, where: str) -> Mapping[str, Any]:
    """A JSON object; anything else is an error naming `where`."""
    if not isinstance(value, dict):
        raise TaskFileError(f"{where} is {value!r}, not an object as the format says")
    return value


def field_of(row: Mapping[str, Any], key: str, kind: type[Any] | tuple[type[Any], ...], where: str) -> Any:
    """A required field of a row of this Python type; anything else is an error naming `where`."""
    value = object_of(row, where).get(key)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        state = "is missing" if key not in row else f"is {value!r}"
        raise TaskFileError(f"{where}: {key} {state}, which is not what the format says")
    return value


@attrs.define
class Predictions:
    """Predictions by question id; `skipped` counts lines left out by reason, `failed` those marked as failed.

    `first`: where the first line of a reason stands, as far as it is known. `units`: once scored, what each value that
    is a mean is the mean of: one score for each question, or group of questions, in the order of the file.

    A line is {"id": ..., and the fields a task reads}; "question_id" may stand for "id". {"id", "failed": reason} says
    that there is no answer, which counts as a wrong one.
    """

    rows: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)
    skipped: Counter[str] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)
    first: dict[str, str] = attrs.field(factory=dict)
    units: dict[str, list[float]] = attrs.field(factory=dict)

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """The predictions of a JSONL file; a line that cannot be read, or repeats an id, is left out and counted."""
        found = cls()
        for where, line in _text_lines(path, "predictions"):
            try:
                found.add(_json_object(line))
            except ValueError as error:
                found.skipped[f"prediction line that {error}"] += 1
                found.first.setdefault(f"prediction line that {error}", where)
        return found

    def add(self, row: Mapping[str, Any]) -> None:
        """One line; one without an id is a `ValueError`."""
        key = row.get("id", row.get("question_id"))
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            raise ValueError("has no id (a text or a whole number)")
        if str(key) in self.rows:
            self.skipped["prediction of an id that occurred before"] += 1
            return
        self.rows[str(key)] = row
        if row.get("failed") is not None:
            self.failed[str(row["failed"])] += 1

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The prediction for a question; None if there is none or it failed."""
        row = self.rows.get(key)
        return None if row is None or row.get("failed") is not None else row

    def check(self, known: Iterable[str]) -> None:
        """Count predictions for questions that do not exist, and questions without a prediction."""
        ids = set(known)
        unknown = sum(key not in ids for key in self.rows)
        missing = sum(key not in self.rows for key in ids)
        if unknown:
            self.skipped["prediction of a question that does not exist"] += unknown
        if missing:
            self.skipped["question without a prediction, counted as wrong"] += missing


def read_predictions(task: Task, path: Path) -> Predictions:
    """The predictions of a file as a task reads them: JSON lines, unless it has a form of its own."""
    own = getattr(task, "read_predictions", None)
    found: Predictions = Predictions.read(path) if own is None else own(path)
    return found


def scored(task: Task, predictions: Predictions, questions: Path) -> Report:
    """The report of a task; a file without a question to score is an error, and no accuracy of 0."""
    report = task.evaluate(predictions)
    if not report.images_used:
        raise TaskFileError(f"{questions} holds no question to score, of the kind that the options choose")
    return report


def accuracy(right: Iterable[float]) -> float:
    """The share of true values, or the mean of soft ones in [0, 1]; 0 of none."""
    values = list(right)
    return sum(values) / len(values) if values else 0.0


def by_group(right: Iterable[tuple[str, float]], key: str) -> list[dict[str, Any]]:
    """Rows of accuracy per group, in order of first occurrence."""
    groups: dict[str, list[float]] = {}
    for group, value in right:
        groups.setdefault(group, []).append(value)
    return [{key: group, "questions": len(values), "accuracy": accuracy(values)} for group, values in groups.items()]


def task_report(
    name: str,
    values: Mapping[str, float],
    predictions: Predictions,
    used: int,
    *,
    convention: str,
    tables: Mapping[str, list[dict[str, Any]]] | None = None,
    notes: Iterable[str] = (),
    units: Mapping[str, Iterable[float]] | None = None,
) -> Report:
    """The report of a task; `used` questions were scored, `convention` says how an answer counts.

    `units`: the scores that a value is the mean of, kept in `predictions` for intervals.
    """
    predictions.units = {value: [float(score) for score in scores] for value, scores in (units or {}).items()}
    failed = sum(predictions.failed.values())
    return Report(
        metric=name,
        values={**values, "failure_rate": failed / used if used else 0.0},
        convention=convention,
        tables=dict(tables or {}),
        images_used=used,
        images_skipped=dict(predictions.skipped),
        notes=(
            *notes,
            *(f"first {reason}: {where}" for reason, where in predictions.first.items()),
            *(f"{count} failed predictions: {reason}" for reason, count in sorted(predictions.failed.items())),
        ),
    )
