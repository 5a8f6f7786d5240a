"""The blind study of Synthetic Visual Genome (Figure 5): one model reads several sets of graphs of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from sgforge.stages import Report
from sgforge.text.wording import counted
from sgforge_eval.intake.inputs import GraphInput
from sgforge_eval.measures.bootstrap import few_units, interval
from sgforge_eval.tasks.ask import Asking, ask_task
from sgforge_eval.tasks.units import drawn_means

__all__ = ["ask_study"]

_VALUE = "accuracy"


def ask_study(
    task: Any, asking: Asking, graphs: Mapping[str, GraphInput], *, output: Path | None = None, draws: int = 1000
) -> Report:
    """Accuracy of a blind model by the set of graphs that it reads, each against the first with a paired interval.

    `graphs` by name, such as given, edited, completed, both; `output`: a folder for the answers, one file a set. A
    question about an image that a set lacks counts as wrong there, and is counted.
    """
    values: dict[str, float] = {}
    scores: dict[str, list[float]] = {}
    lacking: dict[str, int] = {}
    for name, source in graphs.items():
        answers = ask_task(task, attrs.evolve(asking, graphs=source), _file_of(output, name))
        values[name] = task.evaluate(answers).values[_VALUE]
        scores[name] = answers.units[_VALUE]
        lacking[name] = sum(answers.failed.values())
    first = next(iter(graphs))
    used = len(scores[first])
    tables = {"interval": [_interval(name, values[name], scores[name], draws) for name in graphs]} if draws else {}
    compared = [_difference(name, first, scores, draws) for name in graphs if name != first] if draws else []
    few = few_units(used, "question") if draws else ""
    return Report(
        metric=f"{task.name}, blind, by graphs",
        values=values,
        convention=f"{_VALUE} of {asking.model} by the graphs it reads",
        tables={**tables, "against_first": compared},
        images_used=used,
        notes=(
            *(
                f"{name}: {counted(count, 'question')} without a graph or an answer, counted as wrong"
                for name, count in lacking.items()
                if count
            ),
            *([few] if few else []),
        ),
    )


def _file_of(folder: Path | None, name: str) -> Path | None:
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.jsonl"


def _interval(name: str, value: float, scores: list[float], draws: int) -> dict[str, Any]:
    low, high = interval(drawn_means(scores, draws)).tolist()
    return {"metric": name, "value": value, "low": low, "high": high}


def _difference(name: str, first: str, scores: Mapping[str, list[float]], draws: int) -> dict[str, Any]:
    """One set minus the first, question by question; "*" where the interval leaves out 0."""
    difference = np.asarray(scores[name]) - np.asarray(scores[first])
    low, high = interval(drawn_means(difference, draws)).tolist()
    mark = "*" if low > 0 or high < 0 else ""
    return {"graphs": name, "minus": first, "difference": float(difference.mean()), "low": low, "high": high, "": mark}
