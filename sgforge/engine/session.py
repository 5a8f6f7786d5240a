"""Session: one run from the sources to the moved branch, step by step."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from sgforge.engine.barriers.barriers import run_evaluation, run_training
from sgforge.engine.barriers.selection import run_selection
from sgforge.engine.context import Context
from sgforge.engine.executors.answering import StopRunError
from sgforge.engine.items.group import GroupRun
from sgforge.engine.planning.known_work import Images
from sgforge.engine.planning.plan import PlannedStep, selects
from sgforge.engine.reporting.progress import StepTotal
from sgforge.engine.reporting.report import Failed, RunReport, RunStatus, StepCounts, StepReport
from sgforge.engine.reporting.step_counts import MAX_FAILED_SHOWN
from sgforge.engine.sources.reading import ReadingStopped, unused_root
from sgforge.engine.sources.source_step import SourceReader
from sgforge.errors import DatasetError, PreflightError
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.dataset import DatasetWriter, Snapshot

__all__ = ["Session"]


class Session:
    """Runs a plan once. `reports` grows step by step and says how far a stopped or failed run came.

    `keeps_larger`: with a limit, a branch whose version has more images stays where it is. `verify_files`: sources are
    read, and every picture, though they look as they were.
    """

    def __init__(
        self,
        context: Context,
        limit: int | None,
        *,
        keeps_larger: bool = False,
        verify_files: bool = False,
    ) -> None:
        self._context = context
        self._branch = context.branch
        self._limit = limit
        self._keeps_larger = keeps_larger
        self._verify_files = verify_files
        self._branch_note = ""
        self._failures: dict[str, tuple[str, str]] = {}
        self._failed: list[Failed] = []
        self._stopped_by: StopRunError | None = None
        self._started = time.monotonic()
        self.snapshot: Snapshot | None = None
        self.reports: list[StepReport] = []

    async def run(self) -> RunReport:
        """Do all steps, or as many as a stop allows, and move the branch to what they made."""
        context = self._context
        try:
            source = self.snapshot = await self._read_source()
        except ReadingStopped:
            return self._report()
        self._check_selections(Images.of(source))
        for is_item, steps in context.plan.groups():
            if context.stop.is_set():
                break
            if is_item:
                await self._run_group(steps)
            else:
                await self._run_barrier(steps[0], source)
        await self._move_branch()
        if self._is_whole():
            await context.in_thread(context.writer.end_run, context.run_id, self.snapshot)
        return self._report()

    async def _run_group(self, steps: list[PlannedStep]) -> None:
        assert self.snapshot is not None
        context = self._context
        group = await context.in_thread(GroupRun, context, steps, self.snapshot, self._failures)
        await group.run()
        self._stopped_by = group.stopped_by
        self._failures = group.failures
        self._failed.extend(group.failed)
        self.reports.extend(group.reports)
        self.snapshot = group.snapshot

    async def _run_barrier(self, step: PlannedStep, source: Snapshot) -> None:
        assert self.snapshot is not None
        context = self._context
        try:
            if step.verb.answers == "edit":
                report = await self._select(step)
            elif step.verb.answers == "report":
                report = await run_evaluation(context, step, source, self.snapshot, self._failures)
            else:
                report = await run_training(context, step, self.snapshot)
        except StopRunError as error:
            self._stopped_by = error
            context.stop.set()
            report = StepReport(step.name, step.verb.name, step.spec.name, StepCounts(), status="unfinished")
        self.reports.append(report)
        if report.status == "done":
            context.step_finished(report)

    async def _select(self, step: PlannedStep) -> StepReport:
        assert self.snapshot is not None
        done = await run_selection(self._context, step, self.snapshot, self._failures)
        if done.report.status != "done":
            # What comes after would work on images that the selection may have left out.
            self._context.stop.set()
        self.snapshot = done.snapshot
        self._failures = dict(done.failures)
        self._failed.extend(done.failed)
        return done.report

    async def _read_source(self) -> Snapshot:
        started = time.monotonic()
        context = self._context
        reader = SourceReader(context, self._limit, reads_all=self._verify_files)
        async with context.telling([StepTotal(reader.step, None)], [reader]):
            snapshot = await context.in_thread(reader.publish)
        context.states.add([snapshot.id])
        if self._limit is None:  # what a limit left out may lie in any root
            for name in context.roots.unused():
                context.progress.note(unused_root(name))
        self._failed.extend(reader.failed)
        counts = StepCounts(
            len(snapshot) - reader.known,
            reader.known,
            reader.failed_count,
            faults=dict(sorted(reader.left_out.items())),
        )
        names = ", ".join(dict.fromkeys(spec.name for spec in context.plan.sources.values()))
        seconds = time.monotonic() - started
        reasons = dict(sorted(reader.reasons.items()))
        notes = tuple(reader.remarks)
        report = StepReport(
            name="source",
            verb="source",
            component=names,
            counts=counts,
            seconds=seconds,
            status="done",
            snapshot=snapshot.id,
            reasons=reasons,
            notes=notes,
        )
        self.reports.append(report)
        context.step_finished(report)
        return snapshot

    def _check_selections(self, images: Images) -> None:
        """Every step must have an image to work on, which is known only now that the sources are read."""
        problems = []
        splits = sorted(Counter(images.splits).items(), key=str)
        has = ", ".join(f"{count} in {split}" for split, count in splits)
        for step in self._context.plan.steps:
            on = step.selection(images.splits)
            if not any(selects(on, *image) for image in zip(images.sources, images.splits, strict=True)):
                where = f" of source {' or '.join(on.sources)}" if on.sources else ""
                if step.verb.is_item:  # which may be meant: other data may have such images
                    if on.splits:
                        told = f"no image{where} is in split {' or '.join(on.splits)} (there are {has})"
                        self._context.progress.note(f"{step.name} has nothing to do: {told}")
                    continue
                problems.append(
                    f"step {step.name!r} has no {step.verb.images}: no image{where} is in split "
                    f"{' or '.join(on.splits or ('any',))} (there are {has}). Name a split that there is with "
                    f'on = {{split = "{images.splits[0]}"}}, give images split "{(on.splits or ("train",))[0]}" in '
                    "their source, or read more: of images without a split one in ten is held out as val"
                )
        if problems:
            raise PreflightError("; ".join(problems))

    async def _move_branch(self) -> None:
        """A finished run moves the branch; a stopped one only makes it, so that there is something to look at."""
        context = self._context
        assert self.snapshot is not None
        head = _head(context.writer, self._branch)
        if not self._is_whole() and head is not None:
            return
        if self._keeps_larger and self._limit is not None and head is not None and len(head) > len(self.snapshot):
            self._branch_note = (
                f"branch {self._branch} stays at {head.id[:12]} with {counted(len(head), 'image')}; this run's version "
                f"is {self.snapshot.id[:12]} with {len(self.snapshot)}, name it with --branch or sgforge tag"
            )
            return
        await context.in_thread(context.writer.move_branch, self._branch, self.snapshot)

    def _is_whole(self) -> bool:
        """Whether the source and every step are done; a stop that came when all was there has stopped nothing."""
        done = sum(report.status == "done" for report in self.reports)
        return done == len(self._context.plan.steps) + 1

    def _report(self) -> RunReport:
        status: RunStatus = "done"
        message = self._branch_note
        if self._stopped_by is not None:
            if self._stopped_by.cause.exit_code != _BUDGET:
                raise self._stopped_by.cause
            status, message = "budget", str(self._stopped_by.cause)
        elif not self._is_whole():
            status = "interrupted"
        elif any(report.counts.failed for report in self.reports):
            status = "failed-items"
        snapshot = None if self.snapshot is None else self.snapshot.id
        return RunReport(
            run_id=self._context.run_id,
            dataset=self._context.writer.path,
            branch=self._branch,
            snapshot=snapshot,
            status=status,
            steps=tuple(self.reports),
            failures=tuple(self._failed[:MAX_FAILED_SHOWN]),
            seconds=time.monotonic() - self._started,
            message=message,
        )


_BUDGET: Final = 3


def _head(writer: DatasetWriter, branch: str) -> Snapshot | None:
    """What a branch stands for; None if there is none, or none that can be read."""
    try:
        snapshot_id = writer.branches().get(branch)
        return None if snapshot_id is None else writer.snapshot(snapshot_id)
    except DatasetError:
        return None
