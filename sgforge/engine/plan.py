"""Plan: a pipeline with everything looked up and checked, before any work.

`resolve` finds every component, checks its options and needs, and follows the weights from step to step. Whatever is
wrong, with options, needs or the order of steps, is collected and raised as one error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from sgforge.config import default_names
from sgforge.engine.asked import AskedModels
from sgforge.engine.components import ComponentSpec, find_spec
from sgforge.engine.preflight import Problems, find_needs
from sgforge.engine.providers import ModelIdentities
from sgforge.engine.steps import SourceStep, Step
from sgforge.errors import SgforgeError
from sgforge.images import Roots
from sgforge.near import choices
from sgforge.plugins import Registry
from sgforge.stages import KINDS, Selection, Verb, weight_givers

if TYPE_CHECKING:
    from sgforge.models import GatewaySettings

__all__ = ["Plan", "PlannedStep", "resolve", "selects"]


@attrs.frozen(eq=False)
class PlannedStep:
    """One step with its component found.

    `weights`: the earlier step whose checkpoint it takes; `student`: the component those weights belong to, which
    `evaluate` ranks with; `segmenters`: the earlier segment steps that find regions where an evaluation shows none.
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

    @property
    def checkpoint(self) -> Path | None:
        """The weights named by an option, where no earlier step gives any."""
        if self.weights is not None:
            return None
        if self.spec.checkpoint is None and self.student is not None:
            return self.student.checkpoint
        return self.spec.checkpoint

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
    """What a run will do, in order. `notes` are remarks for people, such as steps that can never be reused."""

    sources: Mapping[str, ComponentSpec]
    steps: tuple[PlannedStep, ...]
    models: Mapping[str, Any] = attrs.field(factory=dict)
    seed: int = 0
    notes: tuple[str, ...] = ()

    def groups(self) -> Iterator[tuple[bool, list[PlannedStep]]]:
        """Runs of item steps (True) and single barriers (False), in order."""
        for is_item, steps in groupby(self.steps, key=lambda step: step.verb.is_item):
            if is_item:
                yield True, list(steps)
            else:
                for step in steps:
                    yield False, [step]

    def step(self, name: str) -> PlannedStep:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)


def resolve(
    registry: Registry,
    steps: Sequence[Step],
    sources: Mapping[str, SourceStep],
    models: Mapping[str, Any] | None = None,
    seed: int = 0,
    roots: Roots | None = None,
    gateway: GatewaySettings | None = None,
) -> Plan:
    """The plan of a pipeline; every fault found is in the one `ConfigError` or `PreflightError` it raises.

    With `roots` the sources are asked whether they can be read, with `gateway` prices are looked up.
    """
    problems = Problems()
    asked = AskedModels(registry, models or {}, gateway)
    for fault in asked.faults:
        problems.config(fault)
    found_sources = {}
    seen = None if roots is None else roots.copy()
    for name, source in sources.items():
        spec = _find(registry, "source", source.component, source.options, f"source {name!r}", problems)
        if spec is not None:
            found_sources[name] = spec
            unmet = list(find_needs(spec, asked))
            problems.needs(f"source {name!r}", unmet)
            if seen is not None and not unmet:
                _check_source(spec, name, seen, problems)
    if not sources:
        problems.order("there is no source: a pipeline needs one to read images from")
    planner = _Planner(problems, tuple(sources))
    identities = ModelIdentities(registry, models or {})
    for step, name in zip(steps, _names(steps, problems), strict=True):
        where = f"step {name!r}"
        spec = _find(registry, step.kind.kind, step.component, step.options, where, problems)
        if spec is not None:
            problems.needs(where, find_needs(spec, asked))
            spec = attrs.evolve(spec, models=identities)
        planner.add(step, name, spec)
    problems.check()
    return Plan(found_sources, tuple(planner.planned), dict(models or {}), seed, _notes(planner.planned))


def _find(
    registry: Registry, kind: str, component: Any, options: Mapping[str, Any], where: str, problems: Problems
) -> ComponentSpec | None:
    try:
        spec = find_spec(registry, kind, component, options, where)
        for method in KINDS[kind].all_methods[:1]:
            if spec.component is None and not callable(getattr(spec.instance, method, None)):
                problems.config(f"{where}: {type(spec.instance).__name__} is no {kind}, it has no method {method}()")
                return None
    except SgforgeError as error:
        problems.config(_located(where, error))
        return None
    return spec


def _check_source(spec: ComponentSpec, name: str, roots: Roots, problems: Problems) -> None:
    """What a source says would stop it at once."""
    try:
        check = getattr(spec.build(), "check", None)
        if check is not None:
            check(roots, name)
    except SgforgeError as error:
        problems.config(_located(f"source {name!r}", error))


def _located(where: str, error: SgforgeError) -> str:
    text = str(error)
    return text if where in text else f"{where}: {text}"


def _names(steps: Sequence[Step], problems: Problems) -> list[str]:
    names = default_names([step.verb for step in steps], [step.name for step in steps])
    for name, count in Counter(names).items():
        if count > 1:
            problems.order(f"{count} steps are named {name!r}: give all but one another name")
    return names


def _notes(steps: Iterable[PlannedStep]) -> tuple[str, ...]:
    return tuple(
        f"step {step.name!r} is always done again: the instance of {step.spec.name} names no `options` and `revision`"
        for step in steps
        if not step.spec.is_stable
    )


class _Planner:
    """Follows the weights and segmenters from step to step."""

    def __init__(self, problems: Problems, sources: tuple[str, ...]) -> None:
        self.planned: list[PlannedStep] = []
        self._problems = problems
        self._sources = sources

    def add(self, step: Step, name: str, spec: ComponentSpec | None) -> None:
        """Plan one step after those before it; `spec` is None where its component was not found."""
        on = self._selection(step, name)
        weights = self._weights(step, name, spec)
        if spec is None:
            # Later steps may name this one: keep its place, the problem is noted already.
            spec = ComponentSpec(step.kind.kind, step.label, "", {})
        student = self._student(step, name, spec, weights)
        finders = tuple(earlier for earlier in self.planned if earlier.verb.name == step.kind.finders)
        self.planned.append(
            PlannedStep(
                name,
                step.kind,
                spec,
                on,
                step.batch_size,
                step.workers,
                weights.name if weights is not None else None,
                student,
                finders,
            )
        )

    def _selection(self, step: Step, name: str) -> Selection:
        for source in step.on.sources or ():
            if source not in self._sources:
                self._problems.order(f"step {name!r}: on names source {source!r}; {choices(source, self._sources)}")
        if step.on.splits is None and len(step.kind.splits) == 1:
            # Nothing of the images can change it, so the plan and the run's record say it.
            return attrs.evolve(step.on, splits=step.kind.splits)
        return step.on

    def _givers(self) -> list[PlannedStep]:
        return [step for step in self.planned if step.verb.gives_weights]

    def _weights(self, step: Step, name: str, spec: ComponentSpec | None) -> PlannedStep | None:
        """The earlier step whose checkpoint a step takes."""
        givers = self._givers()
        if step.weights is not None:
            for giver in givers:
                if giver.name == step.weights:
                    return giver
            near = choices(step.weights, [giver.name for giver in givers])
            self._problems.order(
                f"step {name!r}: weights = {step.weights!r} is no earlier {' or '.join(weight_givers())} step; {near}"
            )
            return None
        if step.kind.weights == "named" or spec is None:
            return None
        for giver in reversed(givers):
            if step.kind.weights == "nearest" or (giver.student is not None and giver.student.path == spec.path):
                return giver
        if spec.checkpoint is None and not (step.kind.answers == "report" and self._generators()):
            self._problems.order(
                f"step {name!r} has no weights: put a train step before it, or give it a checkpoint = PATH"
            )
        return None

    def _generators(self) -> list[PlannedStep]:
        """Steps that use a student with weights of its own, which an evaluation may take as its student."""
        return [step for step in self.planned if step.verb.weights == "own" and step.checkpoint is not None]

    def _student(self, step: Step, name: str, spec: ComponentSpec, weights: PlannedStep | None) -> ComponentSpec | None:
        """The student that a step's checkpoint belongs to."""
        if step.kind.student == "itself":
            return spec
        if weights is not None:
            return weights.student
        if step.kind.answers != "report":
            return None
        if generators := self._generators():
            return generators[-1].spec
        if spec.path and step.weights is None and spec.checkpoint is not None:
            self._problems.order(f"step {name!r}: a checkpoint alone names no student; put its generate step before it")
        return None
