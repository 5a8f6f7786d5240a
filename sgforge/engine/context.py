"""What the parts of one run share: the plan, the dataset's writer, models, and who is told what happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs

from sgforge.engine.executors.door import Door
from sgforge.engine.executors.training.metrics import MetricsReader
from sgforge.engine.executors.work import Work
from sgforge.engine.models.run_models import Models
from sgforge.engine.planning.anew import Consent
from sgforge.engine.planning.components import ComponentSpec
from sgforge.engine.planning.devices import devices_for
from sgforge.engine.planning.fingerprints import fingerprint
from sgforge.engine.planning.part_resources import with_parts
from sgforge.engine.planning.plan import Plan, PlannedStep
from sgforge.engine.reporting.events import BatchFinished, MetricReported, StepFinished
from sgforge.engine.reporting.progress import Progress, StepTotal
from sgforge.engine.reporting.report import StepReport
from sgforge.engine.reporting.step_counts import Tally
from sgforge.images import Roots
from sgforge.plugins import Events
from sgforge.stages import Checkpoint, Resources

if TYPE_CHECKING:
    from sgforge.dataset import DatasetWriter, Snapshot, StateIndex, StepRecord

__all__ = ["Context", "find_weights", "options_json", "step_fingerprint", "weights_sha256"]

T = TypeVar("T")
_BEAT: Final = 0.5
"""Seconds between two looks at the counts of what runs."""


class Counts(Protocol):
    """The counts of a step that runs; `flush` tells what was not told yet."""

    @property
    def step(self) -> str: ...

    @property
    def in_flight(self) -> int: ...

    def flush(self) -> None: ...


@attrs.frozen(eq=False)
class Context:
    """One run while it lasts. `stop` is set when nothing new may begin; what is in flight is finished and kept.

    `nonce` stands in the fingerprints of components whose work can never be recognised. `checkpoints`: weights by the
    name of the step that gave them. `door`: the way to components. `branch`: the one that the run moves. `consent`:
    whether answers may be bought anew. `asks_again`: whether images are worked on again whose answers left questions
    open.
    """

    run_id: str
    plan: Plan
    writer: DatasetWriter
    states: StateIndex
    models: Models
    roots: Roots
    scratch: Path
    events: Events
    progress: Progress
    stop: asyncio.Event
    door: Door
    branch: str = "main"
    checkpoints: dict[str, Checkpoint] = attrs.field(factory=dict)
    consent: Consent = Consent()  # noqa: RUF009
    asks_again: bool = False

    async def in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking call without holding up the event loop."""
        return await asyncio.to_thread(call, *arguments)

    def tally(self, step: str) -> Tally:
        """The counts of a step; progress and event hooks hear of every batch."""
        return Tally(step, self.batch_finished)

    def batch_finished(self, step: str, items: int, failed: int, seconds: float) -> None:
        """Tell that so many images of a step are done."""
        self.progress.advance(step, items, failed, self.models.cost_usd())
        self.events.sgforge_batch_finished(
            event=BatchFinished(run_id=self.run_id, step=step, items=items, failed=failed, seconds=seconds)
        )

    @asynccontextmanager
    async def telling(self, totals: Sequence[StepTotal], counts: Sequence[Counts]) -> AsyncIterator[None]:
        """While this lasts, everyone hears twice a second what these steps have done, and that they are alive."""
        self.progress.begin(totals)
        beat = asyncio.create_task(self._beat(counts))
        try:
            yield
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat
            for one in counts:
                one.flush()

    async def _beat(self, counts: Sequence[Counts]) -> None:
        # By the clock and not by what is done: the first image of a large model may take minutes.
        while True:
            await asyncio.sleep(_BEAT)
            for one in counts:
                one.flush()
            self.progress.alive({one.step: one.in_flight for one in counts})

    @asynccontextmanager
    async def telling_figures(self, step: str, reader: MetricsReader) -> AsyncIterator[None]:
        """While this lasts, everyone hears twice a second what figures a training has told."""
        self.progress.begin([StepTotal(step, None)])
        beat = asyncio.create_task(self._listen(step, reader))
        try:
            yield
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat
            self._tell_figures(step, reader)

    async def _listen(self, step: str, reader: MetricsReader) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            self._tell_figures(step, reader)

    def _tell_figures(self, step: str, reader: MetricsReader) -> None:
        latest: dict[str, float] = {}
        at = None
        for figure in reader.read():
            at, latest[figure.metric] = figure.step, figure.value
            event = MetricReported(
                run_id=self.run_id, step=step, metric=figure.metric, value=figure.value, at=figure.step
            )
            self.events.sgforge_metric_reported(event=event)
        if at is not None:
            self.progress.measured(step, latest, at)

    def step_finished(self, report: StepReport) -> None:
        """Tell that a step is published, trained or evaluated."""
        self.progress.finish(report)
        event = StepFinished(
            run_id=self.run_id,
            step=report.name,
            verb=report.verb,
            component=report.component,
            counts=report.counts,
            seconds=report.seconds,
            snapshot=report.snapshot,
            checkpoint=report.checkpoint,
            report=report.report,
        )
        self.events.sgforge_step_finished(event=event)

    def weights_of(self, step: PlannedStep) -> Checkpoint | None:
        """The checkpoint that a step takes: of an earlier step, or the one its option names."""
        return find_weights(step, self.checkpoints)

    def resources(
        self,
        spec: ComponentSpec,
        checkpoint: Checkpoint | None,
        *,
        sees_roots: bool = False,
        devices: tuple[str, ...] | None = None,
    ) -> Resources:
        """What a component is given when it is set up, its parts included; `sees_roots`: the image folders too.

        `devices`: those that it can use, where its needs alone do not say.
        """
        own = Resources(
            devices=devices or devices_for(spec.needs),
            seed=self.plan.seed,
            checkpoint=checkpoint,
            model=self.models.bind(spec.model),
            scratch=self.scratch,
            roots=self.roots if sees_roots else None,
        )
        return with_parts(spec, own, self.models.bind)

    def work(self, step: PlannedStep) -> Work:
        """What a crew for an item step is opened for."""
        resources = self.resources(step.spec, self.weights_of(step))
        return Work(
            spec=step.spec,
            method=step.verb.method,
            resources=attrs.evolve(resources, files=self.writer.files),
            images=self.roots,
            batch_size=step.batch_size,
            workers=step.workers,
        )

    def folder_for(self, step: PlannedStep, fingerprint: str, snapshot: Snapshot) -> Path:
        """The folder of a barrier's step that reads `snapshot`; it is remembered that this run uses it."""
        from sgforge.dataset import FolderUse

        use = FolderUse(
            folder=fingerprint,
            step=step.name,
            run_id=self.run_id,
            branch=self.branch,
            snapshot_id=snapshot.id,
            used=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return self.writer.folder_for(fingerprint, use)

    def fingerprint(self, step: PlannedStep, read: str | None = None) -> str:
        """The fingerprint of a step, the digest of what a barrier read included."""
        return step_fingerprint(step, self.plan.seed, self.run_id, weights_sha256(step, self.checkpoints), read)

    def record(self, step: PlannedStep, fingerprint: str, report: StepReport | None = None) -> StepRecord:
        """What a snapshot says of the step that made it."""
        from sgforge.dataset import StepRecord

        counts = {} if report is None else _flat_counts(report)
        return StepRecord(
            name=step.name,
            verb=step.verb.name,
            component=step.spec.name,
            fingerprint=fingerprint,
            options_json=options_json(step.spec),
            counts=counts,
        )


def find_weights(step: PlannedStep, checkpoints: Mapping[str, Checkpoint]) -> Checkpoint | None:
    """The checkpoint that a step takes, given those of earlier steps by name."""
    if step.weights is not None:
        return checkpoints[step.weights]
    if step.checkpoint is not None and step.takes_weights:
        return Checkpoint.of(step.checkpoint)
    return None


def weights_sha256(step: PlannedStep, checkpoints: Mapping[str, Checkpoint]) -> str | None:
    """The sha256 of the checkpoint that a step takes, None if it takes none."""
    found = find_weights(step, checkpoints)
    return None if found is None else found.sha256


def step_fingerprint(
    step: PlannedStep, seed: int, run_id: str, weights: str | None = None, read: str | None = None
) -> str:
    """The fingerprint of a step; `weights` is the sha256 of its checkpoint, `read` the digest of a barrier's keys.

    A component that cannot be recognised gets one that no other run has.
    """
    is_item = step.verb.is_item
    # What a refiner samples depends on the student's own options too.
    given = step.student if step.verb.student_offers is not None else None
    is_stable = step.spec.is_stable and (given is None or given.is_stable)
    return fingerprint(
        {
            "verb": step.verb.name,
            # Rows say by name which step made or judged them, so the name is part of an item step's answer.
            "name": step.name if is_item else None,
            **(step.spec.identity_of_training if step.verb.answers == "checkpoint" else step.spec.identity),
            "seed": seed or None,
            "weights": weights,
            "read": read,
            "student": None if given is None else given.identity,
            "run": None if is_stable else run_id,
        }
    )


def options_json(spec: ComponentSpec) -> str:
    """The options of a component as JSON, secrets left out."""
    return json.dumps(spec.saved_options(), sort_keys=True, ensure_ascii=False)


def _flat_counts(report: StepReport) -> dict[str, int]:
    counts = report.counts
    plain = {"computed": counts.computed, "reused": counts.reused, "failed": counts.failed, "dropped": counts.dropped}
    return {**plain, **{f"fault: {reason}": count for reason, count in counts.faults.items()}}
