"""What a run did, step by step: the counts it ends with, the code it exits with, and the lines people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from sgforge.stages import Checkpoint, Report
from sgforge.tables import render, report_remarks, report_tables
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

__all__ = ["EXIT_CODES", "Failed", "RunReport", "RunStatus", "StepCounts", "StepReport", "StepStatus"]

RunStatus = Literal["done", "failed-items", "failed", "budget", "interrupted"]
StepStatus = Literal["done", "unfinished"]

EXIT_CODES: Final[Mapping[RunStatus, int]] = {
    "done": 0,
    "failed": 1,
    "budget": 3,
    "failed-items": 4,
    "interrupted": 130,
}
"""130 is what a shell reports for a program that Ctrl-C ended."""
_FAILURES_SHOWN: Final = 5


@attrs.frozen
class StepCounts:
    """Images of one step: worked on now, taken from an earlier run, failed, left out (`on`, dropped, failed before).

    `dropped` images are among the computed or reused ones. `faults`: parts of answers that were left out, by reason.
    """

    computed: int = 0
    reused: int = 0
    failed: int = 0
    skipped: int = 0
    dropped: int = 0
    faults: Mapping[str, int] = attrs.field(factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The counts under their names, for a JSON document."""
        return attrs.asdict(self)


@attrs.frozen
class Failed:
    """One image that failed: where, the counted reason, and the message for people."""

    image_id: str
    step: str
    reason: str
    detail: str = ""


@attrs.frozen
class StepReport:
    """One step of a finished or stopped run; `snapshot` is the one published after it."""

    name: str
    verb: str
    component: str
    counts: StepCounts
    seconds: float = 0.0
    status: StepStatus = "done"
    snapshot: str | None = None
    checkpoint: Checkpoint | None = None
    report: Report | None = None
    predictions: Path | None = None
    """Graph JSONL of what a student said in an evaluation."""
    reasons: Mapping[str, int] = attrs.field(factory=dict)
    """Failed images by reason."""
    notes: tuple[str, ...] = ()
    """What a source or an item component has to say at the end."""


@attrs.frozen
class RunReport:
    """What `Pipeline.run` returns. `failures` holds the first few hundred failed images with their messages."""

    run_id: str
    dataset: Path
    branch: str
    snapshot: str | None
    status: RunStatus
    steps: tuple[StepReport, ...]
    failures: tuple[Failed, ...] = ()
    seconds: float = 0.0
    message: str = ""
    """Why the budget ended it, or why the branch stayed where it was."""

    def __repr__(self) -> str:
        """One line; `str` gives the table that `sgforge run` ends with, and so does a notebook."""
        snapshot = "no snapshot" if self.snapshot is None else f"snapshot {self.snapshot[:12]}"
        return f"<RunReport {self.status}: {counted(len(self.steps), 'step')}, {snapshot} in {str(self.dataset)!r}>"

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def _repr_pretty_(self, printer: Any, is_cycle: bool) -> None:
        """What IPython and Jupyter show."""
        printer.text(repr(self) if is_cycle else str(self))

    @property
    def exit_code(self) -> int:
        """0 done, 1 failed, 3 budget reached, 4 finished with failed items, 130 interrupted."""
        return EXIT_CODES[self.status]

    def step(self, name: str) -> StepReport:
        """The report of the step of that name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step {name!r}; steps: {', '.join(step.name for step in self.steps)}")


def _lines(report: RunReport) -> Iterator[str]:
    """A table of the steps, then what failed and what was made; safe to print to a terminal."""
    width = max((len(step.name) for step in report.steps), default=4)
    yield f"{'step':<{width}}  {'computed':>9} {'reused':>9} {'failed':>7} {'left out':>8}"
    for step in report.steps:
        counts = step.counts
        numbers = f"{counts.computed:>9} {counts.reused:>9} {counts.failed:>7} {counts.skipped:>8}"
        yield f"{step.name:<{width}}  {numbers}{'  (not finished)' if step.status == 'unfinished' else ''}"
        for reason, count in step.reasons.items():
            yield f"{'':<{width}}  {count} failed: {visible(reason)}"
        if counts.faults:
            counted = ", ".join(f"{count} {visible(reason)}" for reason, count in sorted(counts.faults.items()))
            yield f"{'':<{width}}  counted: {counted}"
        yield from (f"{'':<{width}}  {visible(note)}" for note in step.notes)
    for step in report.steps:
        if step.report is not None:
            yield from _found(step.name, step.report)
    for failed in report.failures[:_FAILURES_SHOWN]:
        yield f"failed at {failed.step}: {visible(failed.image_id)}: {visible(failed.detail or failed.reason)}"
    total = sum(step.counts.failed for step in report.steps)
    if total > _FAILURES_SHOWN:
        yield f"... and {total - _FAILURES_SHOWN} more; the next run tries all of them again"
    if report.status == "done" and not any(step.counts.computed for step in report.steps):
        yield "nothing had to be computed again"
    yield from _made(report)


def _found(step: str, report: Report) -> Iterator[str]:
    """What an evaluation found, as `sgforge eval` prints it, between empty lines."""
    yield ""
    for table in report_tables(report):
        yield render([attrs.evolve(table, title=f"{step}: {table.title}")], "terminal")
    yield from (visible(remark) for remark in report_remarks(report))
    yield ""


def _made(report: RunReport) -> Iterator[str]:
    """The version that the run made, and the branch where it stayed behind."""
    has_stayed = bool(report.message) and report.status != "budget"
    if report.snapshot is not None:
        branch = "" if has_stayed else f"branch {report.branch}, "
        yield f"{report.dataset} ({branch}snapshot {report.snapshot[:12]}) in {report.seconds:.1f} s"
    if has_stayed:
        yield report.message
