"""Preview: the item steps of a plan on a few images, with all that models are asked and answer; no dataset is written.

Answers that are bought go into the file of paid answers of the run itself, which finds them there.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import chain, islice, takewhile, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from sgforge.edits import Edit, with_edit
from sgforge.engine.context import find_weights
from sgforge.engine.executors.answering import StopRunError
from sgforge.engine.executors.check_answer import take_edit
from sgforge.engine.executors.crew import Crew
from sgforge.engine.executors.door import Door
from sgforge.engine.executors.work import Work
from sgforge.engine.launch import Request
from sgforge.engine.models.run_models import Models, open_models
from sgforge.engine.planning.devices import devices_for
from sgforge.engine.planning.part_resources import with_parts
from sgforge.engine.planning.plan import Plan, PlannedStep
from sgforge.engine.sources.file_hashes import FileHashes
from sgforge.engine.sources.reading import read_sources
from sgforge.errors import ConfigError, SgforgeError
from sgforge.file_refs import FILES_ROOT
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.made_files import MadeFiles
from sgforge.plugins import Registry
from sgforge.stages import Answer, Failure, Resources

if TYPE_CHECKING:
    from sgforge.models.money.call_trace import Exchange

__all__ = ["Preview", "PreviewedImage", "PreviewedStep", "preview"]


@attrs.frozen(kw_only=True, eq=False)
class PreviewedStep:
    """What one step did with one image: what models were asked meanwhile, and the edit as it took effect on `before`,
    or why there is none. `pictures`: those that were sent, by sha256. `faults`: what of the answer was left out, by
    reason."""

    name: str
    component: str
    before: SceneGraph
    exchanges: Sequence[Exchange]
    pictures: Mapping[str, bytes]
    outcome: Edit | Failure
    faults: Mapping[str, int]


@attrs.define(eq=False)
class PreviewedImage:
    """One image and its steps so far. `sample`: as the last of them left it."""

    sample: Sample
    steps: list[PreviewedStep] = attrs.field(factory=list)

    @property
    def goes_on(self) -> bool:
        """Whether a further step works on it."""
        if not self.steps:
            return True
        outcome = self.steps[-1].outcome
        return isinstance(outcome, Edit) and outcome.dropped is None


@attrs.frozen(kw_only=True, eq=False)
class Preview:
    """A preview. `responses`: where its answers are kept, None if no model was asked. `left_out`: steps that work on
    all images at once, and those behind them. `stopped`: what ended it before all was asked, such as the budget."""

    images: Sequence[PreviewedImage]
    responses: Path | None
    left_out: Sequence[str]
    stopped: SgforgeError | None = None


def preview(request: Request, registry: Registry, count: int) -> Preview:
    """The steps before the first that trains, selects or evaluates, on `count` images: the first of each source in
    turn, at most so many as the request's limit.

    Works inside a running event loop, and beside a run.
    """
    if type(count) is not int or count < 1:
        raise ConfigError(f"a preview is of a whole number of images from 1, not of {count!r}")
    plan = request.resolve(registry)
    with ThreadPoolExecutor(1, thread_name_prefix="sgforge-preview") as thread:
        return thread.submit(lambda: asyncio.run(_preview(request, plan, registry, count))).result()


async def _preview(request: Request, plan: Plan, registry: Registry, count: int) -> Preview:
    steps = list(takewhile(lambda step: step.verb.is_item, plan.steps))
    names = sorted({model for step in steps for model in step.spec.asked_models})
    responses = request.responses or request.dataset / "responses.sqlite"
    images = [PreviewedImage(sample) for sample in _first(request, plan, count)]
    made = [folder for folder in (responses.parent, *responses.parent.parents) if not folder.exists()]
    is_new = bool(names) and not responses.exists()
    stopped = None
    try:
        with tempfile.TemporaryDirectory(prefix="sgforge-") as scratch:
            async with open_models(
                names, plan.models, registry=registry, responses=responses, settings=request.gateway
            ) as models:
                at = _Place(models, request.roots, Path(scratch), plan.seed)
                try:
                    for step in steps:
                        await at.work(step, [image for image in images if image.goes_on])
                except StopRunError as error:
                    stopped = error.cause
    finally:
        if is_new and _is_empty(responses):
            _remove(responses, made)
    left_out = [step.name for step in plan.steps[len(steps) :]]
    return Preview(images=images, responses=responses if names else None, left_out=left_out, stopped=stopped)


def _first(request: Request, plan: Plan, count: int) -> list[Sample]:
    """The first images of the sources that can be read, of each in turn, in the order of a dataset."""
    limit = count if request.limit is None else min(count, request.limit)
    of_each = [
        [
            reading.sample
            for reading in read_sources(
                {name: spec.build()},
                request.roots,
                FileHashes.none(),
                limit,
                columns=plan.source_columns(),
                copies=plan.copies,
            )
            if reading.sample is not None
        ]
        for name, spec in plan.sources.items()
    ]
    taken = islice((sample for sample in chain(*zip_longest(*of_each)) if sample is not None), count)
    return sorted(taken, key=lambda sample: sample.image_id.encode())


@attrs.frozen(eq=False)
class _Place:
    """What the steps of a preview work with."""

    models: Models
    roots: Roots
    scratch: Path
    seed: int

    @property
    def all_roots(self) -> Roots:
        """Those of the request, and that of the pictures that steps make here."""
        return self.roots.with_files(self.scratch / FILES_ROOT)

    async def work(self, step: PlannedStep, images: Sequence[PreviewedImage]) -> None:
        """Let a step answer for the images that it works on."""
        images = [image for image in images if step.applies_to(image.sample.source, image.sample.split)]
        if not images:
            return
        crew = await Door().open(self._for(step))
        try:
            async with asyncio.TaskGroup() as group:
                for image in images:
                    group.create_task(self._one(step, crew, image))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await crew.close()

    def _for(self, step: PlannedStep) -> Work:
        spec, bind = step.spec, self.models.bind
        own = Resources(
            devices=devices_for(spec.needs),
            seed=self.seed,
            checkpoint=find_weights(step, {}),
            model=bind(spec.model),
            scratch=self.scratch,
        )
        return Work(
            spec=spec,
            method=step.verb.method,
            resources=attrs.evolve(with_parts(spec, own, bind), files=MadeFiles(self.scratch / FILES_ROOT)),
            images=self.all_roots,
            batch_size=step.batch_size,
            workers=1,
        )

    async def _one(self, step: PlannedStep, crew: Crew, image: PreviewedImage) -> None:
        from sgforge.models.money.call_trace import record_exchanges

        before = image.sample.graph
        with record_exchanges() as exchanges:
            (found,) = await crew.lanes[0].answer([image.sample])
        outcome, faults = self._take(step, image, found.answer)
        # Now, as a picture that a step made is gone with the scratch folder.
        shown = {part.sha256: part for exchange in exchanges for part in exchange.request.images}
        image.steps.append(
            PreviewedStep(
                name=step.name,
                component=step.spec.name,
                before=before,
                exchanges=tuple(exchanges),
                pictures={sha256: part.load() for sha256, part in shown.items()},
                outcome=outcome,
                faults=faults,
            )
        )

    def _take(
        self, step: PlannedStep, image: PreviewedImage, answer: Answer
    ) -> tuple[Edit | Failure, Mapping[str, int]]:
        """What a run would make of an answer, and what it would leave out; the image goes on with it."""
        if isinstance(answer, Failure):
            return answer, {}
        taken = take_edit(answer, image.sample, step.verb, step.name, step.spec.columns)
        if isinstance(taken, Failure):
            return taken, answer.faults
        image.sample = with_edit(image.sample, taken)
        if taken.edit.image is not None:
            image.sample = attrs.evolve(image.sample, image=self.all_roots.image(taken.edit.image.uri))
        return taken.edit, Counter(answer.faults) + Counter(taken.counts)


def _is_empty(responses: Path) -> bool:
    """Whether nothing was asked over a file of paid answers."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(responses)) as base:
        return not base.execute("SELECT (SELECT COUNT(*) FROM call) + (SELECT COUNT(*) FROM response)").fetchone()[0]
    return False


def _remove(responses: Path, made: Sequence[Path]) -> None:
    for path in responses.parent.glob(f"{responses.name}*"):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # somebody else put something there meanwhile
        for folder in made:
            folder.rmdir()
