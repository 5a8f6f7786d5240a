"""One group of item steps over a snapshot: what is known is recalled, the rest streams, each step is published."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

from sgforge.engine.context import Context
from sgforge.engine.executors.answering import StopRunError
from sgforge.engine.executors.crew import Crew, Lane, at_work, told_of_stop
from sgforge.engine.items.load_known import recall
from sgforge.engine.items.stream import Stage, Stream, WorkItem
from sgforge.engine.planning.anew import bought_anew, told_anew
from sgforge.engine.planning.known_work import Images, OpenAnswers, StepWork, plan_group
from sgforge.engine.planning.plan import PlannedStep
from sgforge.engine.reporting.progress import StepTotal
from sgforge.engine.reporting.report import Failed, StepReport, StepStatus
from sgforge.engine.reporting.step_counts import Tally
from sgforge.statekey import KEY_BYTES, StateKeys

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["GroupRun"]

_FEED: Final = 256
"""Images that are read from the snapshot at once."""


class GroupRun:
    """Runs the steps of one group. `failures`: (step, reason) by image id, of all steps so far."""

    def __init__(
        self, context: Context, steps: Sequence[PlannedStep], parent: Snapshot, failures: Mapping[str, tuple[str, str]]
    ) -> None:
        self._context = context
        self._parent = parent
        self.images = Images.of(parent)
        fingerprints = [(step, context.fingerprint(step)) for step in steps]
        journal = context.writer.journal
        find, has = context.states.find, journal.has
        still_open = OpenAnswers(journal.open_answers(), ask_again=context.asks_again)
        self._works = plan_group(self.images, fingerprints, find, has, still_open)
        self._anew = bought_anew(self.images, self._works, context.fingerprint, find, has, still_open)
        self._tallies = [context.tally(step.name) for step in steps]
        self.failures = dict(failures)
        self.failed: list[Failed] = []
        self.reports: list[StepReport] = []
        self.snapshot = parent
        self.stopped_by: StopRunError | None = None

    async def run(self) -> None:
        """Stream, and publish what is finished; after a stop, also one that a component asks for, the answers of the
        other steps are in the journal."""
        context, works = self._context, self._works
        damaged = context.writer.journal.damaged
        while damaged:
            context.progress.note(f"{damaged.pop(0)}: it is made again")
        if self._anew:
            lines = told_anew(self._anew, context.models.spent_on)
            for line in lines:
                context.progress.note(line)
            await context.in_thread(context.consent.need, self._anew, lines)
        rows = self._rows_to_do()
        # Images of which every step is known are not even read: publishing gathers their states from where they are.
        self._count_known(rows)
        totals = [StepTotal(work.step.name, work.to_compute, work.reused) for work in works]
        async with context.telling(totals, self._tallies):
            if rows:
                await self._stream(rows)
        for tally in self._tallies:
            self.failed.extend(tally.shown)
        await self._publish()

    def _rows_to_do(self) -> Sequence[int]:
        return array(
            "q",
            (
                row
                for row in range(len(self.images))
                if any(work.applies[row] and work.known[row] is None for work in self._works)
            ),
        )

    def _count_known(self, rows: Sequence[int]) -> None:
        streamed = bytearray(len(self.images))
        for row in rows:
            streamed[row] = True
        for work, tally in zip(self._works, self._tallies, strict=True):
            tally.reuse(sum(known is not None and not there for known, there in zip(work.known, streamed, strict=True)))

    async def _stream(self, rows: Sequence[int]) -> None:
        context = self._context
        # As each step below, known to the journal before the first answer to it.
        context.writer.journal.begin_at(self._parent.id)
        async with at_work() as crews:
            stages = [await self._stage(number, crews) for number in range(len(self._works))]
            stream = Stream(stages, context.writer.journal.keep, context.run_id)
            await self._run_stream(stream, rows)
        if stream.stopped_by is not None:
            # From here on it is a stop like any other: no further group begins, and what is whole is published.
            self.stopped_by = stream.stopped_by
            context.stop.set()

    async def _stage(self, number: int, crews: list[Crew]) -> Stage:
        context, work, tally = self._context, self._works[number], self._tallies[number]
        step = work.step
        if work.to_compute:
            # Known to the journal first, so that a killed run's answers can be published without its pipeline.
            context.writer.journal.begin_step(context.record(step, work.fingerprint))
            crews.append(await context.door.open(context.work(step)))
        crew = crews[-1] if work.to_compute else _Idle()
        return Stage(
            name=step.name,
            verb=step.verb,
            crew=crew,
            applies=work.applies,
            keys=work.keys,
            parents=work.parents,
            shared=work.shared(),
            tally=tally,
            columns=step.spec.columns,
            roots=context.roots,
        )

    async def _run_stream(self, stream: Stream, rows: Sequence[int]) -> None:
        try:
            async with told_of_stop(self._context.stop, stream.stop):
                await stream.run(self._feed(rows))
        except BaseExceptionGroup as group:
            raise _first_error(group) from None

    async def _feed(self, rows: Sequence[int]) -> AsyncIterator[list[WorkItem]]:
        """The images to work on in the order of their ids, read ahead by one chunk."""
        chunks = [rows[start : start + _FEED] for start in range(0, len(rows), _FEED)]
        following = asyncio.create_task(asyncio.to_thread(self._read, chunks[0]))
        try:
            for number in range(len(chunks)):
                items = await following
                if number + 1 < len(chunks):
                    following = asyncio.create_task(asyncio.to_thread(self._read, chunks[number + 1]))
                yield items
        finally:
            following.cancel()

    def _read(self, rows: Sequence[int]) -> list[WorkItem]:
        context = self._context
        recalled = recall(self._works, rows, context.states, context.writer.journal, context.roots)
        # What belongs to a version is in no key of an image, so no answer may depend on it.
        states = self._parent.samples_of(rows, context.roots, state_only=True)
        return [WorkItem(row, sample, recalled[row]) for row, (sample, _) in zip(rows, states, strict=True)]

    async def _publish(self) -> None:
        """Publish the finished steps in order; an image that failed or was dropped keeps the key it had then."""
        context = self._context
        # An image that ended at a step keeps the key of its last good state: the next run tries it from there, and
        # finds the steps before it known.
        keys = StateKeys(self.images.keys)
        stopped = [not alive for alive in self.images.alive]
        for number, (work, tally) in enumerate(zip(self._works, self._tallies, strict=True)):
            left = _left(work, tally, stopped)
            if context.stop.is_set() and left:
                # Those after it never got all images of this one.
                self._report_unfinished(number, left)
                return
            started = time.monotonic()
            for row, reason in tally.failures.items():
                stopped[row] = True
                self.failures[self.images.ids[row]] = (work.step.name, reason)
            for row, applies in enumerate(work.applies):
                if applies and not stopped[row]:
                    keys[row] = work.keys[row]
            # After the keys: a drop is an answer, so the step that dropped it counts as done for the image.
            for row in tally.dropped_rows:
                stopped[row] = True
            report = self._report(work, tally, "done")
            record = context.record(work.step, work.fingerprint, report)
            self.snapshot = await context.in_thread(
                context.writer.publish, record, self.snapshot, _as_array(keys), dict(self.failures)
            )
            # Never to be published: a newer answer stands in their place.
            context.writer.journal.forget(old for row, old in work.replaced.items() if keys[row] == work.keys[row])
            # Only now may the states be found there: while a step is published they are in the journal.
            context.states.add([self.snapshot.id])
            seconds = tally.seconds + time.monotonic() - started
            report = attrs.evolve(report, seconds=seconds, snapshot=self.snapshot.id)
            self.reports.append(report)
            context.step_finished(report)

    def _report_unfinished(self, first: int, left: int) -> None:
        for number in range(first, len(self._works)):
            report = self._report(self._works[number], self._tallies[number], "unfinished")
            if number == first:
                told = f"{left} {'image is' if left == 1 else 'images are'} left for the next run"
                report = attrs.evolve(report, notes=(*report.notes, told))
            self.reports.append(report)

    def _report(self, work: StepWork, tally: Tally, status: StepStatus) -> StepReport:
        step = work.step
        counts = tally.counts(len(self.images) if status == "done" else None)
        return StepReport(
            name=step.name,
            verb=step.verb.name,
            component=step.spec.name,
            counts=counts,
            seconds=tally.seconds,
            status=status,
            reasons=dict(sorted(tally.reasons.items())),
            notes=step.spec.notes(counts.faults),
        )


class _Idle:
    """The crew of a step that has nothing to do."""

    lanes: Sequence[Lane] = ()

    def stop(self) -> None: ...

    async def close(self) -> None: ...

    def abandon(self) -> None: ...


def _left(work: StepWork, tally: Tally, stopped: Sequence[bool]) -> int:
    """Images that came so far and have neither answer nor failure; `stopped`: those that came no further."""
    due = sum(applies and not gone for applies, gone in zip(work.applies, stopped, strict=True))
    return due - (tally.computed + tally.reused + len(tally.failures))


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _as_array(keys: StateKeys) -> np.ndarray:
    # A copy, as the buffer changes from step to step.
    return np.frombuffer(bytes(keys.joined()), np.uint8).reshape(-1, KEY_BYTES)
