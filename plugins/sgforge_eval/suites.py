"""The tables of Synthetic Visual Genome as rows: all files of a table scored and averaged, with what is missing.

A folder holds one folder per column: the public file of its task as `questions.*` (graphs: `truth.jsonl`), the answers
as `predictions.jsonl` (predicted maps: `predictions.json`); further files of the task lie beside them under the names
of its options (`instances.json`, `annotations.json`, folders `segments` and `predicted`), others in `options.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.errors import ConfigError, SgforgeError
from sgforge.labels import encoder_named
from sgforge.labels.name_files import read_names
from sgforge.stages import Report
from sgforge.text.did_you_mean import choices
from sgforge_eval.evaluate import Settings, Vocabulary, evaluate_graphs
from sgforge_eval.report import recall_report
from sgforge_eval.tasks import task_named
from sgforge_eval.tasks.base import read_predictions, scored
from sgforge_eval.tasks.options import task_options
from sgforge_eval.tasks.units import average_interval, with_intervals

__all__ = ["SUITES", "Column", "Suite", "run_suite"]


@attrs.frozen
class Column:
    """One column of a table: its folder, the task (or sgdet) and the values of it that the table prints.

    `shown`: value of the report to name in the table.
    """

    folder: str
    task: str
    shown: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Suite:
    """One table: its columns, and averages as (name, folders averaged over)."""

    name: str
    title: str
    columns: tuple[Column, ...]
    averages: tuple[tuple[str, tuple[str, ...]], ...] = ()


def _accuracy(folder: str, task: str, name: str, value: str = "accuracy") -> Column:
    return Column(folder, task, ((value, name),))


_SPLITS: Final = (
    *("refcoco_val", "refcoco_testA", "refcoco_testB"),
    *("refcoco+_val", "refcoco+_testA", "refcoco+_testB"),
    *("refcocog_val", "refcocog_test"),
)
SUITES: Final[Mapping[str, Suite]] = {
    suite.name: suite
    for suite in (
        Suite(
            "svg-table2",
            "Synthetic Visual Genome, Table 2: relations and general questions",
            (
                _accuracy("gqa", "gqa", "GQA"),
                _accuracy("mmbench", "mmbench", "MMBench"),
                _accuracy("seed", "seed", "SEED"),
                _accuracy("vsr", "vsr", "VSR"),
                _accuracy("crpe", "crpe", "CRPE relation", "relation"),
                _accuracy("sugarcrepe", "sugarcrepe", "SugarCrepe"),
                _accuracy("whatsup", "whatsup", "What's Up"),
            ),
        ),
        Suite(
            "svg-table3",
            "Synthetic Visual Genome, Table 3: referring expressions, accuracy at IoU > 0.5",
            tuple(_accuracy(split, "refcoco", split) for split in _SPLITS),
            (
                ("average of all splits", _SPLITS),
                ("average of test splits", tuple(split for split in _SPLITS if "test" in split)),
            ),
        ),
        Suite(
            "svg-table4",
            "Synthetic Visual Genome, Table 4: regions named in free text",
            (
                Column("ade20k", "panoptic", (("PQ", "ADE20K PQ"), ("mAP", "ADE20K mAP"), ("mIoU", "ADE20K mIoU"))),
                Column("lvis", "regions", (("SS", "LVIS SS"), ("S-IoU", "LVIS S-IoU"))),
                Column("paco", "regions", (("SS", "PACO SS"), ("S-IoU", "PACO S-IoU"))),
            ),
        ),
        Suite(
            "svg-table5",
            "Synthetic Visual Genome, Table 5: open-ended scene graphs on PSG",
            (Column("psg", "sgdet", (("R@20", "R@20"), ("mR@20", "mR@20"), ("relations_per_image", "# relations"))),),
        ),
    )
}


def run_suite(name: str, folder: Path, *, draws: int = 1000, encoder: str = "minilm") -> Report:
    """The row of a table from the files in `folder`: values by the names of its columns, table "interval", notes.

    `encoder` "" does without one: names are then matched by lemma, and no semantic similarity is measured.
    A column whose folder or file is missing, or cannot be scored, is named in the notes, and every average over it left
    out. An unknown name is a `ConfigError`.
    """
    suite = SUITES.get(name)
    if suite is None:
        raise ConfigError(f"no suite {name!r}; {choices(name, SUITES)}")
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder: a suite reads one folder per column, such as {suite.columns[0].folder}"
        )
    values: dict[str, float] = {}
    rows: list[Mapping[str, Any]] = []
    notes = [suite.title]
    found: dict[str, _Scored] = {}
    for column in suite.columns:
        try:
            found[column.folder] = _score(column, folder / column.folder, draws, encoder)
        except SgforgeError as error:
            notes.append(f"missing: {column.folder}: {error}")
            continue
        report = found[column.folder].report
        notes += [f"{column.folder}: {note}" for note in report.notes]
        bounds = {row["metric"]: row for row in report.tables.get("interval", ())}
        for value, shown in column.shown:
            if value in report.values:
                values[shown] = report.values[value]
                rows += [{**bounds[value], "metric": shown}] if value in bounds else []
    for title, folders in suite.averages:
        absent = [part for part in folders if part not in found]
        if absent:
            notes.append(f"missing: {title}: without {', '.join(absent)}")
            continue
        values[title] = sum(found[part].report.values["accuracy"] for part in folders) / len(folders)
        if draws:
            low, high = average_interval([found[part].units["accuracy"] for part in folders], draws)
            rows.append({"metric": title, "value": values[title], "low": low, "high": high})
    used = sum(scored.report.images_used for scored in found.values())
    return Report(
        metric=name, values=values, convention=name, tables={"interval": rows}, images_used=used, notes=tuple(notes)
    )


@attrs.frozen
class _Scored:
    """One column: its report, and the scores that its values are the means of."""

    report: Report
    units: Mapping[str, list[float]] = attrs.field(factory=dict)


def _score(column: Column, folder: Path, draws: int, encoder: str) -> _Scored:
    names = ("predictions.jsonl", "predictions.json")
    predictions = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
    if not predictions.is_file():
        raise ConfigError(f"there is no {predictions}")
    if column.task == "sgdet":
        return _Scored(_score_graphs(folder, predictions, draws, encoder))
    kind = task_named(column.task)
    questions = _questions(folder)
    options = task_options(kind.options, column.task, questions, list(_settings(folder, kind, encoder)))
    task = kind(options)
    answers = read_predictions(task, predictions)
    report = scored(task, answers, questions)
    return _Scored(with_intervals(report, answers, draws) if draws else report, answers.units)


def _questions(folder: Path) -> Path:
    found = sorted(path for path in folder.glob("questions.*") if path.is_file())
    if len(found) != 1:
        raise ConfigError(f"{folder} holds {len(found)} files questions.*, and needs the task's public file as one")
    return found[0]


def _settings(folder: Path, kind: Any, encoder: str) -> Iterator[str]:
    """KEY=VALUE of the options that lie beside the questions, and of `options.json`."""
    names = [field.name for field in attrs.fields(kind.options) if field.name != "questions"]
    stored: dict[str, Any] = {}
    path = folder / "options.json"
    if path.is_file():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"options {path} cannot be read: {error}") from None
        if not isinstance(stored, dict):
            raise ConfigError(f"options {path} must be a JSON object of texts")
    if "encoder" in names:
        stored.setdefault("encoder", encoder)
    for name in names:
        beside = [*sorted(folder.glob(f"{name}.json*")), *([folder / name] if (folder / name).is_dir() else [])]
        if name not in stored and beside:
            stored[name] = str(beside[0])
    for name, value in stored.items():
        yield f"{name}={str(value).lower() if isinstance(value, bool) else value}"


def _score_graphs(folder: Path, predictions: Path, draws: int, encoder: str) -> Report:
    """The protocol of section 4.4: free names to the nearest of the closed ones, all triplets ranked, K = 20."""
    truth = folder / "truth.jsonl"
    if not truth.is_file():
        raise ConfigError(f"there is no {truth}")
    given: dict[str, tuple[str, ...] | None] = {}
    for kind in ("labels", "predicates"):
        path = folder / f"{kind}.txt"
        given[kind] = read_names(path, "labels" if kind == "labels" else "predicates") if path.is_file() else None
    settings = Settings(convention="svg", k=(20,), labels=given["labels"], predicates=given["predicates"])
    near = encoder_named(encoder) if encoder else None
    words = Vocabulary.mapped(settings, truth, matching="similarity" if near else "lemma", encoder=near)
    return recall_report(evaluate_graphs(predictions, truth, settings, words), draws=draws)
