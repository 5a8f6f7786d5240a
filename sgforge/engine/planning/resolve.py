"""The one checker of pipelines: names, options, needs, sources, weights and order, every fault with its place.

A config file and a Python program come here alike; the config adds the line to each place. Options become typed values
here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from sgforge.config import Fault, Places, default_names
from sgforge.config.faults import render_path
from sgforge.engine.models.providers import ModelIdentities
from sgforge.engine.planning.components import ComponentSpec, find_spec, trains, why_here
from sgforge.engine.planning.devices import devices_for
from sgforge.engine.planning.model_checks import AskedModels
from sgforge.engine.planning.plan import LOCAL, Plan, PlannedStep
from sgforge.engine.planning.preflight import Problems, StepPlaces, find_needs
from sgforge.errors import SgforgeError
from sgforge.images import Roots
from sgforge.plugins import Registry
from sgforge.stages import KINDS, Selection, Verb, weight_givers
from sgforge.steps import ExecutorChoice, RunSettings, SourceStep, Step
from sgforge.text.blame import told
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import with_article

if TYPE_CHECKING:
    from sgforge.config.faults import Where
    from sgforge.models import GatewaySettings

__all__ = ["resolve"]


def resolve(
    registry: Registry,
    steps: Sequence[Step | None],
    sources: Mapping[str, SourceStep | None],
    models: Mapping[str, Any] | None = None,
    seed: int = 0,
    roots: Roots | None = None,
    gateway: GatewaySettings | None = None,
    *,
    executor: Any = LOCAL,
    faults: Sequence[Fault] = (),
    places: Places | None = None,
) -> Plan:
    """The plan of a pipeline; every fault found is in the one `ConfigError` or `PreflightError` it raises.

    With `roots` the sources are asked whether they can be read, with `gateway` prices are looked up. `faults`: what is
    known to be wrong before, with a None for each step and source that could not be read; then needs and the order of
    steps are not looked at, as most of what one would find there follows from these. `places` tells faults.
    `executor`: an `ExecutorChoice`, the name of one, or an instance.
    """
    names = default_names(
        [None if step is None else step.verb for step in steps], [None if step is None else step.name for step in steps]
    )
    problems = Problems(places or StepPlaces(names), faults)
    asked = AskedModels(registry, models or {}, gateway)
    for fault in asked.faults:
        problems.add(fault)
    resolver = _Resolver(registry, asked, problems, None if roots is None else roots.copy())
    found_sources = {name: resolver.source(name, source) for name, source in sources.items()}
    if not sources:
        problems.order((), "there is no source: a pipeline needs one to read images from")
    choice = ExecutorChoice.of(executor)
    away = None if choice == ExecutorChoice(LOCAL) else resolver.executor(choice)
    _check_names(names, problems)
    planner = _Planner(problems, tuple(sources), names)
    identities = ModelIdentities(registry, asked.settings)
    for number, step in enumerate(steps):
        spec = None if step is None else resolver.step(number, step)
        planner.add(number, step, None if spec is None else spec.knowing(identities))
    problems.check()
    whole = {name: spec for name, spec in found_sources.items() if spec is not None}
    notes = (*_notes(planner.planned), *(() if away is None else _stays(planner.planned, away)))
    return Plan(
        sources=whole,
        steps=tuple(planner.planned),
        models=asked.settings,
        seed=seed,
        notes=notes,
        executor=away,
        copies={name: one.copies for name, one in sources.items() if one is not None and one.copies is not None},
    )


class _Resolver:
    """Finds components and checks their options and needs. `roots`: what sources may look into, and add to."""

    def __init__(self, registry: Registry, asked: AskedModels, problems: Problems, roots: Roots | None) -> None:
        self._registry = registry
        self._asked = asked
        self._problems = problems
        self._roots = roots

    def step(self, number: int, step: Step) -> ComponentSpec | None:
        """The component of a step, None if there is a fault in its name or options."""
        where = ("step", number)
        at = (*where, step.verb)
        kind = self._kind_of(step, at)
        spec = None if kind is None else self._find(kind, step.component, step.options, where, at)
        if spec is not None and kind in step.kind.also and step.kind.method not in spec.offers:
            self._problems.config(at, f"{kind} {spec.name!r} offers no {step.kind.method}: it is used as it is")
        if step.run is not None:
            self._check_run(step, spec, (*where, "run"))
        for place, one in () if spec is None else spec.walk():
            self._problems.needs((*where, *place), find_needs(one, self._asked))
            if place and one.lacks_weights:
                self._problems.order((*where, *place), "has no weights: give it a checkpoint = PATH")
        return spec

    def _kind_of(self, step: Step, at: Where) -> str | None:
        """The kind of a step's component, None if there is one of each of several."""
        if not isinstance(step.component, str):
            given = (kind for kind in step.kind.kinds if hasattr(step.component, KINDS[kind].all_methods[0]))
            return next(given, step.kind.kind)
        try:
            return self._registry.kind_of(step.kind.kinds, step.component)
        except SgforgeError as error:
            self._problems.config(at, str(error))
            return None

    def _check_run(self, step: Step, spec: ComponentSpec | None, where: Where) -> None:
        """Whether there is a training that `run` can speak of."""
        if not step.kind.gives_weights:
            self._problems.config(where, f"belongs to steps that train: {', '.join(weight_givers())}")
        elif spec is not None and spec.holds_instance:
            self._problems.config(where, "an instance trains in this process: name a component instead")

    def source(self, name: str, source: SourceStep | None) -> ComponentSpec | None:
        """The component of a source, asked whether it can be read."""
        where = ("sources", name)
        spec = None
        if source is not None:
            spec = self._find("source", source.component, source.options, where, (*where, "use"))
        if spec is not None:
            unmet = list(find_needs(spec, self._asked))
            self._problems.needs(where, unmet)
            if self._roots is not None and not unmet and self._problems.is_readable:
                self._check_source(spec, name, self._roots)
        return spec

    def executor(self, choice: ExecutorChoice) -> ComponentSpec | None:
        """The executor of the run, None if there is a fault in its name or options."""
        where = ("executor",)
        if choice.component == LOCAL:
            for name in choice.options:
                self._problems.config((*where, name), f"unknown option: executor {LOCAL!r} takes none")
            return None
        spec = self._find("executor", choice.component, choice.options, where, (*where, "use"))
        if spec is not None:
            self._problems.needs(("executor",), find_needs(spec, self._asked))
        return spec

    def _find(
        self, kind: str, component: Any, options: Mapping[str, Any], where: Where, at: Where
    ) -> ComponentSpec | None:
        try:
            spec, faults = find_spec(self._registry, kind, component, options)
        except SgforgeError as error:
            self._problems.config(at, str(error), error.__cause__)
            return None
        for fault in faults:
            self._problems.add(fault.under(where))
        return None if faults else spec

    def _check_source(self, spec: ComponentSpec, name: str, roots: Roots) -> None:
        """What a source says would stop it at once."""
        try:
            check = getattr(spec.build(), "check", None)
            if check is not None:
                check(roots, name)
        except SgforgeError as error:
            self._problems.config(("sources", name), str(error).removeprefix(f"source {name!r}: "))
        except Exception as error:
            self._problems.config(("sources", name), f"its check failed: {told(error)}", error)


def _check_names(names: Sequence[str], problems: Problems) -> None:
    for number, name in enumerate(names):
        first = names.index(name)
        if first < number:
            where = ("step", number, "name")
            problems.config(where, f"there is a step {name!r} already, step[{first}]: names are unique")


def _notes(steps: Iterable[PlannedStep]) -> tuple[str, ...]:
    return tuple(
        f"step {step.name!r} is always done again: the instance of {spec.name}{_standing(place)} "
        "names no `options` and `revision`"
        for step in steps
        for place, spec in step.spec.walk()
        if spec.revision is None
    )


def _standing(place: Where) -> str:
    return f" in {render_path(place)}" if place else ""


def _stays(steps: Iterable[PlannedStep], executor: ComponentSpec) -> Iterator[str]:
    for step in steps:
        why = why_here(step.spec, step.verb.method)
        if step.verb.is_item and why is not None:
            yield f"step {step.name!r} works in this process, not with executor {executor.name}: {why}"
        elif step.verb.gives_weights and why is None and not trains(executor.target()):
            yield f"step {step.name!r} trains on this machine: executor {executor.name} opens no trainings"


class _Planner:
    """Follows the weights and segmenters from step to step."""

    def __init__(self, problems: Problems, sources: tuple[str, ...], names: Sequence[str]) -> None:
        self.planned: list[PlannedStep] = []
        self._problems = problems
        self._sources = sources
        self._names = names
        self._is_faulty = False  # whether a step that gives weights is: later steps may have meant its weights

    def add(self, number: int, step: Step | None, spec: ComponentSpec | None) -> None:
        """Plan one step after those before it; `spec` is None where its component was not found."""
        if step is None:
            return
        name, where = self._names[number], ("step", number)
        weights = self._weights(step, where, spec)
        if spec is None:
            # Later steps may name this one: keep its place, the problem is noted already.
            spec = ComponentSpec(step.kind.kind, step.label, "", {})
            self._is_faulty |= step.kind.gives_weights
        self.planned.append(
            PlannedStep(
                name=name,
                verb=step.kind,
                spec=spec,
                on=self._selection(step, where),
                batch_size=step.batch_size,
                workers=step.workers,
                weights=None if weights is None else weights.name,
                student=self._student(step, where, spec, weights),
                segmenters=tuple(earlier for earlier in self.planned if earlier.verb.name == step.kind.finders),
                run=step.run or RunSettings(),
            )
        )
        self._check_student(self.planned[-1], where)
        self._check_devices(self.planned[-1], where)

    def _check_student(self, step: PlannedStep, where: Where) -> None:
        """Whether a refiner's student can be refined."""
        offer, student = step.verb.student_offers, step.student
        if offer is None or not step.spec.path or (student is not None and not student.path):
            return
        if student is None:
            message = "has no student: put the step that trains it, or generates with it, before"
        elif offer not in student.offers:
            message = f"student {student.name!r} offers no {offer}, so it cannot be refined"
        elif student.holds_instance and not step.spec.holds_instance:
            message = f"student {student.name} is an instance, which no other process can have: name it"
        else:
            return
        self._problems.order(where, message)

    def _check_devices(self, step: PlannedStep, where: Where) -> None:
        """Whether each process of a training can have a GPU of its own, if they use any."""
        if step.run.processes == 1:
            return
        devices = devices_for(*step.needs)
        if devices[0].startswith("cuda") and len(devices) < step.run.processes:
            message = f"{step.run.processes} processes need as many GPUs, and this machine has {len(devices)}"
            self._problems.needs((*where, "run", "processes"), (message,))

    def _selection(self, step: Step, where: Where) -> Selection:
        for source in step.on.sources or ():
            if source not in self._sources:
                message = f"there is no source {source!r}; {choices(source, self._sources)}"
                self._problems.config((*where, "on", "source"), message)
        if step.on.splits is None and len(step.kind.splits) == 1:
            # Nothing of the images can change it, so the plan and the run's record say it.
            return attrs.evolve(step.on, splits=step.kind.splits)
        return step.on

    def _givers(self) -> list[PlannedStep]:
        return [step for step in self.planned if step.verb.gives_weights]

    def _weights(self, step: Step, where: Where, spec: ComponentSpec | None) -> PlannedStep | None:
        """The earlier step whose checkpoint a step takes."""
        givers = self._givers()
        if step.weights is not None:
            return self._named(step.weights, givers, where, step.kind)
        if spec is None or not step.kind.takes_weights(is_trained=spec.is_trained):
            return None
        for giver in reversed(givers):
            student = giver.student
            if step.kind.weights == "nearest" and (student is None or student.kind in step.kind.trained):
                return giver
            if step.kind.weights == "own" and student is not None and student.path == spec.path:
                return giver
        if spec.needs.untrained or self._is_faulty:
            return None
        if spec.checkpoint is None and not (step.kind.student == "trained" and self._users(step.kind)):
            measures = step.kind.answers == "report"
            other = "a generate step with checkpoint = PATH" if measures else "give it a checkpoint = PATH"
            self._problems.order(where, f"has no weights: put a train step before it, or {other}")
        return None

    def _named(self, name: str, givers: Sequence[PlannedStep], where: Where, verb: Verb) -> PlannedStep | None:
        """The step that `weights` names."""
        for giver in givers:
            if giver.name != name:
                continue
            kind = None if giver.student is None or verb.weights != "nearest" else giver.student.kind
            if kind is not None and kind not in verb.trained:
                wrong = f"step {name!r} trains {with_article(kind)}, not {' or '.join(map(with_article, verb.trained))}"
                self._problems.config((*where, "weights"), wrong)
            return giver
        near = choices(name, [giver.name for giver in givers])
        message = f"there is no earlier {' or '.join(weight_givers())} step {name!r}; {near}"
        self._problems.config((*where, "weights"), message)
        return None

    def _users(self, verb: Verb) -> list[PlannedStep]:
        """Steps that use a student with weights of its own, which a step of `verb` may take as its student."""
        own = (step for step in self.planned if step.verb.weights == "own" and step.takes_weights)
        return [step for step in own if step.checkpoint is not None and step.spec.kind in verb.trained]

    def _student(
        self, step: Step, where: Where, spec: ComponentSpec, weights: PlannedStep | None
    ) -> ComponentSpec | None:
        """The student that a step's checkpoint belongs to."""
        if step.kind.student == "itself":
            return spec
        if weights is not None:
            return weights.student
        if step.kind.student != "trained":
            return None
        if users := self._users(step.kind):
            return users[-1].spec
        if step.kind.answers == "report" and spec.path and step.weights is None and spec.checkpoint is not None:
            self._problems.order(where, "a checkpoint alone names no student; put its generate step before it")
        return None
