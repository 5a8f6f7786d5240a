"""Figures of a training: one line each in `metrics.jsonl`, written where it trains and read where the run is told.

    {"metric": "loss", "step": 100, "time": 1790000000.25, "value": 0.5}

`time`: seconds since the epoch. A value that is no finite number stands as "NaN", "Infinity" or "-Infinity". A training
that goes on from an earlier state repeats the steps since then: of two lines with one metric and step the last counts.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.errors import StepError

__all__ = ["METRICS", "Figure", "MetricsReader", "MetricsWriter"]

METRICS: Final = "metrics.jsonl"
"""The file's name in a step's folder."""
_NAMED: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BLOCK: Final = 65536


@attrs.frozen
class Figure:
    """What a training told: the value of a metric at its own step."""

    metric: str
    value: float
    step: int


class MetricsWriter:
    """Adds lines to the file, each in one piece, so that a kill leaves whole lines. One process writes at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._opening = threading.Lock()

    def __call__(self, metric: str, value: float, step: int) -> None:
        """Keep one figure."""
        figure = _checked(metric, value, step)
        line = {"metric": figure.metric, "value": _written(figure.value), "step": figure.step, "time": time.time()}
        data = json.dumps(line, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        if os.write(self._opened(), data) < len(data):
            raise StepError(f"{METRICS} could not be written: is the disk full?")

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)

    def _opened(self) -> int:
        """The file, there from the first figure on."""
        with self._opening:
            if self._file is None:
                # Nobody may have pointed it elsewhere: the folder outlives runs.
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
                # What a full disk or a crash of the machine left of a line is taken off.
                os.ftruncate(self._file, _end_of_lines(self._file))
            return self._file


class MetricsReader:
    """What is added to the file from now on, line by line as they become whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        with suppress(FileNotFoundError), path.open("rb") as stream:
            self._place = _end_of_lines(stream.fileno())

    def read(self) -> Iterator[Figure]:
        """The figures since the last time; what is no figure is passed over."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._place)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    self._place += len(line)
                    figure = _read(line)
                    if figure is not None:
                        yield figure
        except FileNotFoundError:
            return


def _written(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _checked(metric: Any, value: Any, step: Any) -> Figure:
    if not isinstance(metric, str) or not metric or not metric.isprintable():
        raise StepError(f"report: a metric is one line of printable text, not {metric!r}")
    try:
        figure = Figure(metric, float(value), int(step))
    except (TypeError, ValueError, OverflowError):
        raise StepError(f"report: {metric!r} needs a number and a step, not {value!r} and {step!r}") from None
    if isinstance(value, (str, bytes)) or figure.step != step or figure.step < 0:
        raise StepError(f"report: {metric!r} needs a number and a whole step from 0, not {value!r} and {step!r}")
    return figure


def _read(line: bytes) -> Figure | None:
    try:
        found = json.loads(line)
        value = found["value"]
        return _checked(found["metric"], _NAMED[value] if isinstance(value, str) else value, found["step"])
    except (ValueError, LookupError, TypeError, StepError):
        return None


def _end_of_lines(file: int) -> int:
    """Where the last whole line of a file ends."""
    end = os.fstat(file).st_size
    while end:
        start = max(end - _BLOCK, 0)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
