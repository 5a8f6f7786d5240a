"""What event hooks are called with; values only, safe to keep, to log or to send to a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from sgforge.engine.reporting.report import RunStatus, StepCounts
from sgforge.stages import Checkpoint, Report

__all__ = ["BatchFinished", "MetricReported", "RunFinished", "RunStarted", "StepFinished"]


@attrs.frozen
class RunStarted:
    """A run is about to start its first step. `started`: seconds since the epoch; `config`: the pipeline as JSON."""

    run_id: str
    dataset: Path
    branch: str
    steps: tuple[str, ...]
    started: float
    config: str


@attrs.frozen
class BatchFinished:
    """Some images of a step are done: how many, failed ones among them, seconds they took. Step "source" reads."""

    run_id: str
    step: str
    items: int
    failed: int
    seconds: float


@attrs.frozen(kw_only=True)
class MetricReported:
    """A training told a figure: the `value` of `metric` at its own step `at`. `step`: the name of the pipeline's."""

    run_id: str
    step: str
    metric: str
    value: float
    at: int


@attrs.frozen
class StepFinished:
    """A step is published (`snapshot`), trained (`checkpoint`) or evaluated (`report`)."""

    run_id: str
    step: str
    verb: str
    component: str
    counts: StepCounts
    seconds: float
    snapshot: str | None = None
    checkpoint: Checkpoint | None = None
    report: Report | None = None


@attrs.frozen
class RunFinished:
    """A run has ended, however it ended; `counts` by step name, `message` says why if it did not finish."""

    run_id: str
    status: RunStatus
    exit_code: int
    counts: Mapping[str, StepCounts]
    seconds: float
    message: str = ""
