"""Tally: the running counts of one step, told to progress displays and event hooks by count and by time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from sgforge.engine.reporting.report import Failed, StepCounts
from sgforge.stages import Failure

__all__ = ["MAX_FAILED_SHOWN", "Tally"]

MAX_FAILED_SHOWN: Final = 200
"""Failed images of a step that are kept with their messages; all of them are counted."""
_EVENT_ITEMS: Final = 64

OnBatch = Callable[[str, int, int, float], None]


class Tally:
    """Counts of one step while it runs; `on_batch(step, items, failed, seconds)` hears of every 64 items or so.

    Whoever runs the step calls `flush` twice a second, so that slow images are told too. `in_flight`: images that are
    being worked on now.
    """

    def __init__(self, step: str, on_batch: OnBatch | None = None) -> None:
        self.step = step
        self.computed = 0
        self.reused = 0
        self.dropped_rows: list[int] = []
        self.faults: dict[str, int] = {}
        self.reasons: dict[str, int] = {}
        self.failures: dict[int, str] = {}
        self.shown: list[Failed] = []
        self.started: float | None = None
        self.ended = 0.0
        self.in_flight = 0
        self._on_batch = on_batch
        self._items = 0
        self._failed = 0
        self._seconds = 0.0

    def answer(self, counts: Mapping[str, int]) -> None:
        """One image was worked on."""
        self.computed += 1
        for reason, count in counts.items():
            self.faults[reason] = self.faults.get(reason, 0) + count

    def reuse(self, count: int) -> None:
        """Images whose answer was known."""
        self.reused += count

    def drop(self, row: int) -> None:
        """The answer for an image takes it out of all later steps."""
        self.dropped_rows.append(row)

    def fail(self, row: int, image_id: str, failure: Failure) -> None:
        """One image failed here: it keeps the graph it had."""
        self.failures[row] = failure.reason
        self.reasons[failure.reason] = self.reasons.get(failure.reason, 0) + 1
        if len(self.shown) < MAX_FAILED_SHOWN:
            self.shown.append(Failed(image_id, self.step, failure.reason, failure.detail))

    def batch(self, items: int, failed: int, seconds: float) -> None:
        """A batch is durable."""
        self.ended = time.monotonic()
        if self.started is None:
            self.started = self.ended - seconds
        self._items += items
        self._failed += failed
        self._seconds += seconds
        if self._items >= _EVENT_ITEMS:
            self.flush()

    def flush(self) -> None:
        """Tell what was not told yet."""
        if self._items and self._on_batch is not None:
            self._on_batch(self.step, self._items, self._failed, self._seconds)
        self._items, self._failed, self._seconds = 0, 0, 0.0

    @property
    def seconds(self) -> float:
        """From the first batch to the last."""
        return 0.0 if self.started is None else self.ended - self.started

    def counts(self, images: int | None = None) -> StepCounts:
        """The counts of a step; the rest of the `images` of its snapshot was left out."""
        failed = len(self.failures)
        skipped = 0 if images is None else images - self.computed - self.reused - failed
        faults = dict(sorted(self.faults.items()))
        return StepCounts(
            computed=self.computed,
            reused=self.reused,
            failed=failed,
            skipped=skipped,
            dropped=len(self.dropped_rows),
            faults=faults,
        )
