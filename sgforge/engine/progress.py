"""Progress of a run for people: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

import attrs

from sgforge.engine.report import StepReport
from sgforge.visible import visible

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["LineProgress", "NoProgress", "Progress", "StepTotal", "choose_progress"]

_LINE_EVERY: Final = 10.0
"""Seconds between plain lines of one step."""


@attrs.frozen
class StepTotal:
    """How much there is to do in one item step: images to work on, and those known already."""

    name: str
    to_compute: int
    reused: int


class Progress(Protocol):
    """What the engine tells while it runs; all calls come from one thread."""

    def note(self, text: str) -> None:
        """A remark, such as the start of a training."""

    def begin(self, totals: Sequence[StepTotal]) -> None:
        """A group of item steps begins to stream."""

    def advance(self, step: str, items: int, failed: int, cost_usd: float) -> None:
        """So many images of a step are done, `failed` among them; `cost_usd` is the cost of the whole run so far."""

    def finish(self, step: StepReport) -> None:
        """A step is published, trained or evaluated."""

    def close(self) -> None:
        """The run has ended."""


class NoProgress:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def begin(self, totals: Sequence[StepTotal]) -> None: ...

    def advance(self, step: str, items: int, failed: int, cost_usd: float) -> None: ...

    def finish(self, step: StepReport) -> None: ...

    def close(self) -> None: ...


class LineProgress:
    """A line of text now and then: for logs, pipes and batch jobs."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._totals: dict[str, StepTotal] = {}
        self._done: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._started = 0.0
        self._told: dict[str, float] = {}

    def note(self, text: str) -> None:
        self._print(visible(text))

    def begin(self, totals: Sequence[StepTotal]) -> None:
        self._totals = {total.name: total for total in totals}
        self._done = dict.fromkeys(self._totals, 0)
        self._failed = dict.fromkeys(self._totals, 0)
        self._started = time.monotonic()
        self._told = dict.fromkeys(self._totals, self._started)
        for total in totals:
            if total.to_compute:
                self._print(f"{total.name}: {total.to_compute} to do, {total.reused} known")

    def advance(self, step: str, items: int, failed: int, cost_usd: float) -> None:
        self._done[step] += items
        self._failed[step] += failed
        now = time.monotonic()
        if now - self._told[step] >= _LINE_EVERY:
            self._told[step] = now
            self._print(self._line(step, now - self._started, cost_usd))

    def _line(self, step: str, seconds: float, cost_usd: float) -> str:
        done, total = self._done[step], self._totals[step].to_compute
        rate = done / seconds if seconds > 0 else 0.0
        left = f", {_duration((total - done) / rate)} left" if rate > 0 else ""
        cost = f", ${cost_usd:.2f}" if cost_usd else ""
        failed = f", {self._failed[step]} failed" if self._failed[step] else ""
        return f"{step}: {done} of {total}, {rate:.1f}/s{failed}{cost}{left}"

    def finish(self, step: StepReport) -> None:
        counts = step.counts
        failed = f", {counts.failed} failed" if counts.failed else ""
        self._print(f"{step.name}: {counts.computed} computed, {counts.reused} reused{failed} ({step.seconds:.1f} s)")

    def close(self) -> None:
        self._stream.flush()

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _LiveProgress:
    """Bars with rate, failures, cost and time left."""

    def __init__(self, stream: IO[str]) -> None:
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}", markup=False),
            progress.TextColumn("{task.fields[note]}", markup=False),
            progress.TimeRemainingColumn(),
            console=Console(file=stream),
            refresh_per_second=5,
        )
        self._tasks: dict[str, TaskID] = {}
        self._failed: dict[str, int] = {}
        self._started = 0.0
        self._progress.start()

    def note(self, text: str) -> None:
        self._progress.console.print(visible(text), markup=False, highlight=False)

    def begin(self, totals: Sequence[StepTotal]) -> None:
        self._started = time.monotonic()
        for total in totals:
            self._failed[total.name] = 0
            self._tasks[total.name] = self._progress.add_task(
                total.name, total=total.to_compute, visible=total.to_compute > 0, rate="", note=""
            )

    def advance(self, step: str, items: int, failed: int, cost_usd: float) -> None:
        self._failed[step] += failed
        task: Any = self._tasks[step]
        self._progress.advance(task, items)
        seconds = max(time.monotonic() - self._started, 1e-9)
        notes = [f"{self._failed[step]} failed"] if self._failed[step] else []
        notes += [f"${cost_usd:.2f}"] if cost_usd else []
        rate = self._progress.tasks[self._progress.task_ids.index(task)].completed / seconds
        self._progress.update(task, rate=f"{rate:.1f}/s", note=" ".join(notes))

    def finish(self, step: StepReport) -> None:
        counts = step.counts
        task = self._tasks.pop(step.name, None)
        if task is not None:
            self._progress.remove_task(task)
        failed = f", {counts.failed} failed" if counts.failed else ""
        self.note(f"{step.name}: {counts.computed} computed, {counts.reused} reused{failed} ({step.seconds:.1f} s)")

    def close(self) -> None:
        self._progress.stop()


def choose_progress(wish: Progress | bool | None, stream: IO[str] | None = None) -> Progress:
    """The display for a run: True for one, False for none, None for one if stderr is a terminal."""
    target = stream or sys.stderr
    if wish is None:
        wish = target.isatty()
    if wish is False:
        return NoProgress()
    if wish is not True:
        return wish
    return _LiveProgress(target) if target.isatty() else LineProgress(target)


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
