"""Plan: a pipeline with everything looked up and checked, as `resolve` makes it before any work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.columns.declared import Column
from sgforge.engine.planning.components import ComponentSpec
from sgforge.stages import Needs, Selection, Verb
from sgforge.steps import RunSettings

__all__ = ["LOCAL", "Plan", "PlannedStep", "selects"]

LOCAL: Final = "local"
"""The executor with which all components work in the driver."""


@attrs.frozen(eq=False)
class PlannedStep:
    """One step with its component found.

    `weights`: the earlier step whose checkpoint it takes; `student`: the component those weights belong to, which
    `evaluate` ranks with; `segmenters`: the earlier segment steps that find regions where an evaluation shows none;
    `run`: how its training is run.
    """

    name: str
    verb: Verb
    spec: ComponentSpec
    on: Selection
    batch_size: int | None = None
    workers: int | None = None
    weights: str | None = None
    student: ComponentSpec | None = None
    segmenters: tuple[PlannedStep, ...] = ()
    run: RunSettings = attrs.field(factory=RunSettings)

    @property
    def checkpoint(self) -> Path | None:
        """The weights named by an option, where no earlier step gives any."""
        if self.weights is not None:
            return None
        if self.spec.checkpoint is None and self.student is not None:
            return self.student.checkpoint
        return self.spec.checkpoint

    @property
    def takes_weights(self) -> bool:
        """Whether its component is given weights."""
        return self.verb.takes_weights(is_trained=self.spec.is_trained)

    @property
    def needs(self) -> tuple[Needs, ...]:
        """Those of its component and, where that is given the student, the student's."""
        if self.verb.student_offers is None or self.student is None:
            return (self.spec.needs,)
        return (self.spec.needs, self.student.needs)

    def selection(self, present: Iterable[str | None]) -> Selection:
        """Which images it works on, given the splits that there are: as `on` says, else as its verb does."""
        if self.on.splits is not None:
            return self.on
        return attrs.evolve(self.on, splits=self.verb.default_splits(present))

    def applies_to(self, source: str | None, split: str | None) -> bool:
        """Whether an image of this source and split is among those the step works on."""
        return selects(self.on, source, split)


def selects(on: Selection, source: str | None, split: str | None) -> bool:
    """Whether an image of this source and split is in a selection."""
    return (on.sources is None or source in on.sources) and (on.splits is None or split in on.splits)


@attrs.frozen(eq=False)
class Plan:
    """What a run will do, in order. `notes` are remarks for people, such as steps that can never be reused.

    `executor`: who opens components that may leave the driver; None if all stay. `copies`: how often each image of a
    source is taken, by the source's name; those that are taken once, under their own ids, are not there.
    """

    sources: Mapping[str, ComponentSpec]
    steps: tuple[PlannedStep, ...]
    models: Mapping[str, Any] = attrs.field(factory=dict)
    seed: int = 0
    notes: tuple[str, ...] = ()
    executor: ComponentSpec | None = None
    copies: Mapping[str, int] = attrs.field(factory=dict)

    def groups(self) -> Iterator[tuple[bool, list[PlannedStep]]]:
        """Runs of item steps (True) and single barriers (False), in order."""
        for is_item, steps in groupby(self.steps, key=lambda step: step.verb.is_item):
            if is_item:
                yield True, list(steps)
            else:
                for step in steps:
                    yield False, [step]

    def source_columns(self) -> dict[str, Mapping[tuple[str, str], Column]]:
        """The further columns that each source declared, by its name."""
        return {name: spec.columns for name, spec in self.sources.items()}

    def model_names(self) -> list[str]:
        """The models that its steps and their parts ask, sorted."""
        return sorted({model for step in self.steps for model in step.spec.asked_models})

    def step(self, name: str) -> PlannedStep:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)
