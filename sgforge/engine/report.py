"""What a run did, step by step: the counts it ends with and the code it exits with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from sgforge.engine.summary import summary_lines
from sgforge.stages import Checkpoint, Report

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
        return f"<RunReport {self.status}: {len(self.steps)} steps, {snapshot} in {str(self.dataset)!r}>"

    def __str__(self) -> str:
        return "\n".join(summary_lines(self))

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
