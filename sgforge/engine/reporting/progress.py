"""Progress of a run for people: bars on a terminal, a display that redraws in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

import attrs

from sgforge.engine.reporting.report import StepReport
from sgforge.text.safe_text import visible

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["LineProgress", "NoProgress", "NotebookProgress", "Progress", "StepTotal", "choose_progress"]

_FIRST_LINE: Final = 1.0
_LINE_EVERY: Final = 10.0
"""Seconds between plain lines of one step: short at first, so that a short run is seen too, then twice as long each."""
_REDRAW_EVERY: Final = 0.5
"""Seconds between two drawings of a notebook's display."""


@attrs.frozen
class StepTotal:
    """How much there is to do in one step: images to work on (None while nobody knows), and those known already."""

    name: str
    to_compute: int | None
    reused: int = 0


class Progress(Protocol):
    """What the engine tells while it runs; all calls come from one thread."""

    def note(self, text: str) -> None:
        """A remark, such as the start of a training."""

    def begin(self, totals: Sequence[StepTotal]) -> None:
        """Sources begin to be read, a group of item steps to stream, or an evaluation to ask."""

    def advance(self, step: str, items: int, failed: int, cost_usd: float) -> None:
        """So many images of a step are done, `failed` among them; `cost_usd` is the cost of the whole run so far."""

    def alive(self, in_flight: Mapping[str, int]) -> None:
        """Twice a second, also when nothing is done: how many images of each step are being worked on."""

    def measured(self, step: str, figures: Mapping[str, float], at: int) -> None:
        """A training told figures at its own step `at`; the last of them each, where several came together."""

    def finish(self, step: StepReport) -> None:
        """A step is published, trained or evaluated."""

    def close(self) -> None:
        """The run has ended."""


class NoProgress:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def begin(self, totals: Sequence[StepTotal]) -> None: ...

    def advance(self, step: str, items: int, failed: int, cost_usd: float) -> None: ...

    def alive(self, in_flight: Mapping[str, int]) -> None: ...

    def measured(self, step: str, figures: Mapping[str, float], at: int) -> None: ...

    def finish(self, step: StepReport) -> None: ...

    def close(self) -> None: ...


@attrs.define
class _Running:
    """One step that runs, as far as it is known. `told`: when a line of it was printed; `pause`: until the next;
    `figures`: what a training told last.
    """

    total: StepTotal
    started: float
    told: float
    pause: float = _FIRST_LINE
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    cost_usd: float = 0.0
    figures: str = ""

    @property
    def is_busy(self) -> bool:
        """Whether there is something to wait for."""
        return self.total.to_compute is None or self.done < self.total.to_compute

    def rate(self) -> str:
        """Images a second so far, or a minute where they are slow; empty before the first."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        if not self.done:
            return ""
        return f"{self.done / seconds:.1f}/s" if self.done >= 0.1 * seconds else f"{60 * self.done / seconds:.1f}/min"

    def asides(self) -> Iterator[str]:
        """What is in flight, what failed, what it cost, and what a training told."""
        if self.in_flight:
            yield f"{self.in_flight} in flight"
        if self.failed:
            yield f"{self.failed} failed"
        if self.cost_usd:
            yield f"${self.cost_usd:.2f}"
        if self.figures:
            yield self.figures

    def line(self) -> str:
        """`complete: 40 of 100, 2.0/s, 3 in flight, 2 failed, $1.50, 30 s left`."""
        total, seconds = self.total.to_compute, time.monotonic() - self.started
        count = f"{self.done} of {total}"
        if total is None:
            count = "" if self.figures else f"{self.done} read"
        ends = f"{_duration(seconds)} so far"
        if self.done and total is not None:
            ends = f"{_duration((total - self.done) * seconds / self.done)} left"
        return f"{self.total.name}: {', '.join(filter(None, (count, self.rate(), *self.asides(), ends)))}"


class _Counting:
    """Keeps count of the steps that run."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}

    def begin(self, totals: Sequence[StepTotal]) -> None:
        now = time.monotonic()
        self._running = {total.name: _Running(total, now, now) for total in totals}

    def advance(self, step: str, items: int, failed: int, cost_usd: float) -> None:
        running = self._running[step]
        running.done += items
        running.failed += failed
        running.cost_usd = cost_usd
        self._tell(running)

    def alive(self, in_flight: Mapping[str, int]) -> None:
        for step, count in in_flight.items():
            running = self._running[step]
            running.in_flight = count
            if running.is_busy and (count or running.total.to_compute is None):
                self._tell(running)

    def measured(self, step: str, figures: Mapping[str, float], at: int) -> None:
        running = self._running[step]
        told = (f"{name} {value:.4g}" for name, value in figures.items())
        running.figures = ", ".join((f"step {at}", *told))
        self._tell(running)

    def finish(self, step: StepReport) -> None:
        self._running.pop(step.name, None)
        counts = step.counts
        failed = f", {counts.failed} failed" if counts.failed else ""
        self.note(f"{step.name}: {counts.computed} computed, {counts.reused} reused{failed} ({step.seconds:.1f} s)")

    def note(self, text: str) -> None:
        raise NotImplementedError

    def _tell(self, running: _Running) -> None:
        raise NotImplementedError


class LineProgress(_Counting):
    """A line of text now and then: for logs, pipes and batch jobs."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__()
        self._stream = stream

    def note(self, text: str) -> None:
        print(visible(text), file=self._stream, flush=True)

    def begin(self, totals: Sequence[StepTotal]) -> None:
        super().begin(totals)
        for total in totals:
            if total.to_compute:
                self.note(f"{total.name}: {total.to_compute} to do, {total.reused} known")

    def _tell(self, running: _Running) -> None:
        now = time.monotonic()
        if now - running.told >= running.pause:
            running.told = now
            running.pause = min(2 * running.pause, _LINE_EVERY)
            self.note(running.line())

    def close(self) -> None:
        self._stream.flush()


class NotebookProgress(_Counting):
    """One output of a notebook's cell: remarks and finished steps, and below them a line for each step that runs.

    It is redrawn in place, from the engine's thread, whatever the cell does meanwhile.
    """

    def __init__(self) -> None:
        super().__init__()
        self._notes: list[str] = []
        self._handle: Any = None
        self._drawn = 0.0

    def note(self, text: str) -> None:
        self._notes.append(visible(text))
        self._draw()

    def begin(self, totals: Sequence[StepTotal]) -> None:
        super().begin(totals)
        self._draw()

    def _tell(self, running: _Running) -> None:
        if time.monotonic() - self._drawn >= _REDRAW_EVERY:
            self._draw()

    def close(self) -> None:
        self._running = {}
        self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        busy = (visible(running.line()) for running in self._running.values() if running.is_busy)
        data = {"text/plain": "\n".join((*self._notes, *busy))}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


class _LiveProgress(_Counting):
    """Bars with time passed, rate, what is in flight, failures, cost and time left."""

    def __init__(self, stream: IO[str]) -> None:
        from rich import progress
        from rich.console import Console

        super().__init__()
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[rate]}", markup=False),
            progress.TextColumn("{task.fields[note]}", markup=False),
            progress.TimeRemainingColumn(),
            console=Console(file=stream),
            refresh_per_second=5,
        )
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def note(self, text: str) -> None:
        self._progress.console.print(visible(text), markup=False, highlight=False)

    def begin(self, totals: Sequence[StepTotal]) -> None:
        super().begin(totals)
        for total in totals:
            self._tasks[total.name] = self._progress.add_task(
                total.name, total=total.to_compute, visible=total.to_compute != 0, rate="", note=""
            )

    def _tell(self, running: _Running) -> None:
        task = self._tasks[running.total.name]
        note = " ".join(running.asides())
        self._progress.update(task, completed=running.done, rate=running.rate(), note=note)

    def finish(self, step: StepReport) -> None:
        task = self._tasks.pop(step.name, None)
        if task is not None:
            self._progress.remove_task(task)
        super().finish(step)

    def close(self) -> None:
        self._progress.stop()


def choose_progress(wish: Progress | bool | None, stream: IO[str] | None = None) -> Progress:
    """The display for a run: True for one, False for none, None for one in a notebook and if stderr is a terminal."""
    target = stream or sys.stderr
    in_notebook = stream is None and _is_notebook()
    if wish is None:
        wish = in_notebook or target.isatty()
    if wish is False:
        return NoProgress()
    if wish is not True:
        return wish
    if in_notebook:
        return NotebookProgress()
    return _LiveProgress(target) if target.isatty() else LineProgress(target)


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose stderr is no terminal but whose reader looks on."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
