"""Intervals and paired differences of tasks, from the score of each question (or of each group of rotations)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge.stages import Report
from sgforge_eval.measures.bootstrap import few_units, interval
from sgforge_eval.tasks.base import Predictions, Task

__all__ = ["TaskDifference", "average_interval", "compare_answers", "drawn_means", "with_intervals"]

_BLOCK = 1 << 22  # numbers drawn at once


@attrs.frozen
class TaskDifference:
    """One value of a task for both sides, B minus A, and the 95 % interval of the difference over shared resamples.

    `low` and `high` are NaN for a value that is no mean over questions, such as PQ or an F1: it has no interval.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    units: int


def drawn_means(scores: Sequence[float], draws: int, seed: int = 0) -> Any:
    """(draws,) means of resamples of as many scores as there are; the same for every call."""
    values = np.asarray(scores, np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    block = max(1, _BLOCK // max(len(values), 1))
    for start in range(0, draws, block):
        count = min(block, draws - start)
        means[start : start + count] = values[rng.integers(0, len(values), (count, len(values)))].mean(axis=1)
    return means


def average_interval(units: Sequence[Sequence[float]], draws: int) -> tuple[float, float]:
    """The 95 % interval of an average over files, each resampled by itself: their questions are not the same."""
    average = np.mean([drawn_means(scores, draws, seed) for seed, scores in enumerate(units)], axis=0)
    low, high = interval(average).tolist()
    return low, high


def with_intervals(report: Report, predictions: Predictions, draws: int) -> Report:
    """The report with a table "interval" of its values that are means over questions (Efron 1979, percentiles)."""
    rows = []
    for name, scores in predictions.units.items():
        if len(scores) and name in report.values:
            low, high = interval(drawn_means(scores, draws)).tolist()
            rows.append({"metric": name, "value": report.values[name], "low": low, "high": high})
    bare = [name for name in report.values if name not in predictions.units and name != "failure_rate"]
    fewest = min((len(scores) for scores in predictions.units.values() if len(scores)), default=0)
    note = few_units(fewest, "question") if rows else ""
    without = f"no mean over questions, and without an interval: {', '.join(bare)}" if bare else ""
    notes = (*report.notes, *(said for said in (note, without) if said))
    return attrs.evolve(report, tables={**report.tables, "interval": rows}, notes=notes)


def compare_answers(
    task: Task, first: Predictions, second: Predictions, draws: int
) -> tuple[list[TaskDifference], Mapping[str, Report]]:
    """B (`second`) against A (`first`), paired by question, and the report of each."""
    reports = {"A": task.evaluate(first), "B": task.evaluate(second)}
    found = []
    for name, scores in first.units.items():
        others = second.units[name]
        if len(scores) != len(others):
            raise ConfigError(
                f"A has {len(scores)} scores of {name}, B {len(others)}: they are not of the same questions"
            )
        if not len(scores):
            continue
        difference = np.asarray(others, np.float64) - np.asarray(scores, np.float64)
        low, high = interval(drawn_means(difference, draws)).tolist()
        values = reports["A"].values[name], reports["B"].values[name]
        found.append(
            TaskDifference(metric=name, first=values[0], second=values[1], low=low, high=high, units=len(scores))
        )
    shared = (name for name in reports["A"].values if name in reports["B"].values)
    known = {row.metric for row in found}
    for name in shared:
        if name not in known:
            sides = reports["A"].values[name], reports["B"].values[name]
            nothing = float("nan")
            found.append(
                TaskDifference(metric=name, first=sides[0], second=sides[1], low=nothing, high=nothing, units=0)
            )
    return found, reports
