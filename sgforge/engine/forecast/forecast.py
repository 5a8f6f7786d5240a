"""Forecast: what a run would compute and reuse, step by step; sources that have changed are read, no component works,
nothing is written.

Steps behind a training or a selection that has not run cannot be told: their keys depend on weights that do not exist
yet, or nobody knows which images are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from sgforge.columns.declared import cell_of, column_of
from sgforge.engine.barriers.barriers import evaluation_fingerprint
from sgforge.engine.barriers.checkpoints import load_checkpoint
from sgforge.engine.barriers.evaluation import load_report
from sgforge.engine.barriers.selection import load_choices
from sgforge.engine.context import step_fingerprint, weights_sha256
from sgforge.engine.planning.anew import Anew, bought_anew
from sgforge.engine.planning.known_work import Images, OpenAnswers, StepWork, plan_group
from sgforge.engine.planning.plan import Plan, PlannedStep, selects
from sgforge.engine.sources.file_hashes import FileHashes, known_hashes
from sgforge.engine.sources.reading import read_sources
from sgforge.engine.sources.unchanged import Kept, Unchanged
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Selection

if TYPE_CHECKING:
    from sgforge.dataset import KnownWork, StateRef

__all__ = ["Forecast", "StepForecast", "forecast"]

_RUN: Final = "forecast"
"""The run's id in fingerprints of what is always done again."""


@attrs.frozen
class StepForecast:
    """One step: images to work on and images known, or the step whose weights or choice decide that (`after`)."""

    step: PlannedStep
    to_compute: int | None = None
    reused: int | None = None
    after: str | None = None


@attrs.frozen
class Forecast:
    """What a run would do. `samples`: for each step that asks a model, some of the images it would work on, with the
    newest graph that is known of each. `anew`: answers of an earlier revision that would be bought anew."""

    images: int
    unreadable: int
    steps: tuple[StepForecast, ...]
    samples: Mapping[str, tuple[Sample, ...]]
    anew: tuple[Anew, ...] = ()


def forecast(
    plan: Plan,
    dataset: Path,
    roots: Roots,
    limit: int | None = None,
    sampled: int = 20,
    *,
    asks_again: bool = False,
) -> Forecast:
    """Look ahead; `sampled`: images given as samples of each step that asks a model. `asks_again`: as a run does that
    works again on images whose answers left questions open.

    Works on a dataset that may not be written and while a run goes on; files of unknown hash are read each time.
    """
    from sgforge.dataset import KnownWork

    known = KnownWork.open(dataset) if (dataset / "sgforge.json").exists() else None
    return _Forecaster(plan, known, sampled, asks_again).forecast(roots, limit)


@attrs.frozen
class _Row:
    """An image of a source; its graph is loaded when it is wanted."""

    image_id: str
    key: bytes
    source: str | None
    split: str | None
    load: Callable[[], Sample]


def _row_of(sample: Sample, key: bytes) -> _Row:
    return _Row(image_id=sample.image_id, key=key, source=sample.source, split=sample.split, load=lambda: sample)


def _kept_rows(kept: Kept, source: str, roots: Roots) -> Iterator[_Row]:
    """The images of a source that need not be read."""
    images = Images.of(kept.snapshot)
    for row in kept.rows.tolist():
        load = partial(kept.snapshot.sample, row, roots)
        yield _Row(image_id=images.ids[row], key=images.keys[row], source=source, split=images.splits[row], load=load)


class _Forecaster:
    def __init__(self, plan: Plan, known: KnownWork | None, sampled: int, asks_again: bool) -> None:
        self._plan = plan
        self._known = known
        self._sampled = sampled
        self._open = OpenAnswers(frozenset() if known is None else known.open_answers(), ask_again=asks_again)
        self._checkpoints: dict[str, Checkpoint] = {}
        self._samples: dict[str, tuple[Sample, ...]] = {}
        self._rows: list[_Row] = []
        self._anew: list[Anew] = []
        # The first step that cannot be told, and with it everything behind it.
        self._unknown: str | None = None

    def forecast(self, roots: Roots, limit: int | None) -> Forecast:
        source, unreadable = self._read(roots, limit)
        images, steps = source, []
        for is_item, group in self._plan.groups():
            if is_item:
                forecasts, images = self._group(group, images)
                steps.extend(forecasts)
            elif group[0].verb.answers == "edit":
                told, images = self._selection(group[0], images)
                steps.append(told)
            else:
                steps.append(self._barrier(group[0], source, images))
        return Forecast(len(source), unreadable, tuple(steps), samples=self._samples, anew=tuple(self._anew))

    def _read(self, roots: Roots, limit: int | None) -> tuple[Images, int]:
        sources = {name: spec.build() for name, spec in self._plan.sources.items()}
        hashes = FileHashes.none() if self._known is None else known_hashes(self._known)
        rows: list[_Row] = []
        unreadable = 0
        if self._known is not None:
            unchanged = Unchanged(self._known, self._known.states, roots, hashes)
            for name, spec in self._plan.sources.items():
                kept = unchanged.look(name, spec, sources[name], limit, self._plan.copies.get(name)).kept
                if kept is not None:
                    del sources[name]
                    rows += _kept_rows(kept, name, roots)
                    unreadable += len(kept.told.failed)
        for reading in read_sources(
            sources, roots, hashes, limit, columns=self._plan.source_columns(), copies=self._plan.copies
        ):
            if reading.failure is not None:
                unreadable += reading.failure.loses == "image"
            elif reading.sample is not None:
                rows.append(_row_of(reading.sample, reading.key))
        rows.sort(key=lambda row: row.image_id.encode())
        self._rows = rows
        images = Images(
            ids=[row.image_id for row in rows],
            keys=[row.key for row in rows],
            sources=[row.source for row in rows],
            splits=[row.split for row in rows],
            alive=[True] * len(rows),
        )
        return images, unreadable

    def _group(self, steps: Sequence[PlannedStep], images: Images) -> tuple[list[StepForecast], Images]:
        told: list[tuple[PlannedStep, str]] = []
        for step in steps:
            if step.weights is not None and step.weights not in self._checkpoints:
                self._unknown = self._unknown or step.weights
            if self._unknown is None:
                told.append((step, self._fingerprint(step)))
        works = plan_group(images, told, self._find, self._has, self._open)
        self._anew += bought_anew(images, works, self._fingerprint, self._find, self._has, self._open)
        forecasts = [StepForecast(work.step, work.to_compute, work.reused) for work in works]
        for number, work in enumerate(works):
            if work.step.spec.asked_models and work.to_compute:
                self._samples[work.step.name] = tuple(self._take(works, number))
        forecasts += [StepForecast(step, after=self._unknown) for step in steps[len(told) :]]
        return forecasts, attrs.evolve(images, keys=works[-1].keys) if works else images

    def _find(self, keys: Sequence[bytes]) -> Sequence[StateRef | None]:
        return [None] * len(keys) if self._known is None else self._known.states.find(keys)

    def _has(self, keys: Sequence[bytes]) -> set[bytes]:
        return set() if self._known is None else self._known.answered(keys)

    def _fingerprint(self, step: PlannedStep, read: str | None = None) -> str:
        return step_fingerprint(step, self._plan.seed, _RUN, weights_sha256(step, self._checkpoints), read)

    def _take(self, works: Sequence[StepWork], number: int) -> Iterator[Sample]:
        """Some images that a step would work on, spread over all of them."""
        work = works[number]
        rows = [row for row in range(len(self._rows)) if work.applies[row] and work.known[row] is None]
        for row in rows[:: max(1, len(rows) // self._sampled)][: self._sampled]:
            sample = self._rows[row].load()
            graph = self._newest(works[:number], row)
            yield sample if graph is None else attrs.evolve(sample, graph=graph)

    def _newest(self, works: Sequence[StepWork], row: int) -> SceneGraph | None:
        for work in reversed(works):
            known = work.known[row]
            if known is not None and known.state is not None and self._known is not None:
                return self._known.states.graph(known.state)
        return None

    def _barrier(self, step: PlannedStep, source: Images, images: Images) -> StepForecast:
        after = self._unknown
        if after is None and step.weights is not None and step.weights not in self._checkpoints:
            after = step.weights
        if after is not None:
            return StepForecast(step, after=after)
        if step.verb.answers == "report":
            truths = images if step.spec.truth == "graph" else source
            on = step.selection(images.splits)
            keys = _selected(truths, images.alive, on)
            # Those of the state count where the student is shown what steps made.
            keys += _selected(images, images.alive, on) if step.spec.needs.shows else []
            dropped = len(_selected(images, [not alive for alive in images.alive], on))
            left_out = {"dropped": dropped} if dropped else None
            folder = self._folder(step, evaluation_fingerprint(step, keys, _RUN, left_out))
            is_done = folder is not None and load_report(folder) is not None
            count = len(_selected(truths, images.alive, on))
            return StepForecast(step, 0, count) if is_done else StepForecast(step, count, 0)
        rows = [row for row, here in enumerate(images.rows(step)) if here]
        folder = self._folder(step, images.read(rows))
        is_done = folder is not None and self._remember(step, load_checkpoint(folder))
        return StepForecast(step, 0, len(rows)) if is_done else StepForecast(step, len(rows), 0)

    def _selection(self, step: PlannedStep, images: Images) -> tuple[StepForecast, Images]:
        """A selection, and the images after it; what one chooses that was not made cannot be told."""
        if self._unknown is not None:
            return StepForecast(step, after=self._unknown), images
        rows = [row for row, here in enumerate(images.rows(step)) if here]
        folder = self._folder(step, images.read(rows))
        choices = None if folder is None else load_choices(folder)
        if choices is None:
            self._unknown = step.name
            return StepForecast(step, len(rows), 0), images
        alive, chosen = list(images.alive), dict(images.chosen)
        for row, edit in zip(rows, choices, strict=True):
            alive[row] = edit.dropped is None
            for value in edit.values:
                chosen[row] = cell_of(value.value, column_of(value))
        return StepForecast(step, 0, len(rows)), attrs.evolve(images, alive=alive, chosen=chosen)

    def _remember(self, step: PlannedStep, checkpoint: Checkpoint | None) -> bool:
        if checkpoint is not None:
            self._checkpoints[step.name] = checkpoint
        return checkpoint is not None

    def _folder(self, step: PlannedStep, read: str) -> Path | None:
        return None if self._known is None else self._known.path / "steps" / self._fingerprint(step, read)


def _selected(images: Images, alive: Sequence[bool], on: Selection) -> list[bytes]:
    return [
        key
        for key, source, split, is_alive in zip(images.keys, images.sources, images.splits, alive, strict=True)
        if is_alive and selects(on, source, split)
    ]
