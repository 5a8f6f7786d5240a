"""Prompts and questions of benchmarks, from copies that a user has: TIFA, DPG-Bench, GenEval 2 and T2I-CoReBench.

The files are untrusted: every row is checked, and named by its line where it is wrong.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sgforge.errors import ConfigError, GraphError
from sgforge.graph import Caption, Question, Sample

__all__ = ["BENCHMARKS", "read_benchmark"]

_MOST_BYTES: Final = 512 * 1024 * 1024
BENCHMARKS: Final = ("tifa", "dpg", "geneval2", "corebench")


def read_benchmark(path: Path, form: str) -> Iterator[Sample]:
    """A sample for each prompt, with its caption and questions, and no image.

    "tifa": a JSON list of questions with caption, question, choices, answer and id. "dpg": the CSV of DPG-Bench, a
    question a row (item_id, text, question_natural_language, proposition_id, dependency). "geneval2": JSON lines of
    prompt and vqa_list, pairs of question and answer. "corebench": JSON of T2I-CoReBench, an object by id of objects
    with Prompt and Checklist, a list of objects with question and tags; every answer is yes.

    Raises:
        ConfigError: an unknown form, a file that cannot be read, a row without its fields.
    """
    if form not in BENCHMARKS:
        raise ConfigError(f"unknown form of questions {form!r}; known: {', '.join(BENCHMARKS)}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: more than {_MOST_BYTES:,} bytes")
        text = path.read_text("utf-8")
        yield from {"tifa": _tifa, "dpg": _dpg, "geneval2": _geneval2, "corebench": _corebench}[form](text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError, GraphError) as error:
        raise ConfigError(f"{path}: no file of {form}: {error}") from None


def _tifa(text: str) -> Iterator[Sample]:
    groups: dict[str, tuple[str, list[Question]]] = {}
    for row in json.loads(text):
        caption, questions = groups.setdefault(str(row["id"]), (row["caption"], []))
        choices = [str(one) for one in row.get("choices", [])]
        kind = str(row.get("element_type", "question"))
        questions.append(Question(kind=kind, text=row["question"], answer=str(row["answer"]), choices=choices))
    for name, (caption, questions) in groups.items():
        yield _sample(name, caption, questions)


def _dpg(text: str) -> Iterator[Sample]:
    groups: dict[str, list[Mapping[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        groups.setdefault(row["item_id"], []).append(row)
    for name, rows in groups.items():
        place = {row["proposition_id"]: number for number, row in enumerate(rows)}
        questions = [
            Question(
                kind=row.get("category_broad") or "question",
                text=row["question_natural_language"],
                answer="yes",
                choices=("yes", "no"),
                dependencies=tuple(
                    place[one.strip()] for one in row["dependency"].split(",") if one.strip() not in ("", "0")
                ),
            )
            for row in rows
        ]
        yield _sample(name, rows[0]["text"], questions)


def _geneval2(text: str) -> Iterator[Sample]:
    for number, line in enumerate(text.splitlines()):
        if line.strip():
            row = json.loads(line)
            pairs: list[Any] = row["vqa_list"]
            questions = [Question(kind="atom", text=one[0], answer=str(one[1])) for one in pairs]
            yield _sample(f"geneval2-{number:05d}", row["prompt"], questions)


def _corebench(text: str) -> Iterator[Sample]:
    for name, row in json.loads(text).items():
        questions = [
            Question(kind=_kind(one.get("tags")), text=one["question"], answer="yes", choices=("yes", "no"))
            for one in row["Checklist"]
        ]
        yield _sample(name, row["Prompt"], questions)


def _kind(tags: Any) -> str:
    return "+".join(map(str, tags)) if isinstance(tags, list) and tags else "question"


def _sample(name: str, caption: str, questions: list[Question]) -> Sample:
    return Sample(name, values={"caption": Caption(caption), "questions": tuple(questions)})
