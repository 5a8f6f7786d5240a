"""ComponentSpec: one component of a plan with its checked options, ready to be built by whoever runs it.

The components in its options are its parts, specs as it is one; they are found and checked with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from sgforge.columns.declared import Column
from sgforge.config.faults import Fault, Where
from sgforge.engine.planning.fingerprints import differing_options, hash_path
from sgforge.errors import ConfigError, SgforgeError
from sgforge.plugins import Component, Registry
from sgforge.plugins.hooks import RESERVED_STEP_KEYS
from sgforge.stages import KINDS, Needs, Use
from sgforge.stages.parts import PART_KEYS, kind_of_part
from sgforge.stages.revisions import at_revision
from sgforge.text.blame import told

if TYPE_CHECKING:
    from sgforge.engine.models.providers import ModelIdentities

__all__ = ["ComponentSpec", "PartSpec", "find_spec", "is_async", "trains", "why_here"]

TRAINING: Final = "train"
"""The method by which a component learns its weights."""
_DEEPEST: Final = 8
"""Parts within parts; deeper ones can only be a default that holds itself."""


@attrs.frozen(eq=False)
class PartSpec:
    """A component in an option of another. `place`: where in the options it stands, for messages."""

    name: str
    weight: float
    spec: ComponentSpec
    place: Where

    @property
    def identity(self) -> dict[str, Any]:
        """What of it is part of its holder's fingerprint, also where nothing differs from a default."""
        # Its options tell it where it differs from the default; a hub id counts as it is written.
        checkpoint = self.spec.needs.read("checkpoint", self.spec.options)
        weights = {"checkpoint": hash_path(checkpoint)} if isinstance(checkpoint, Path) else {}
        return {"name": self.name, "weight": self.weight, **weights, **self.spec.identity_as_part}


@attrs.frozen(eq=False)
class ComponentSpec:
    """What stands behind the name (or the instance) in a step.

    `settings` are the options as given, plain values, `options` the typed ones. `revision` is None for an instance
    that names none: its work cannot be recognised later, so it is always done again. `models` knows what stands behind
    the name of its model; it is asked when a fingerprint is made, as weights may have to be read.
    `parts`: the components in its options, by option; an option that holds none is not there.
    """

    kind: str
    name: str
    path: str
    settings: Mapping[str, Any]
    options: Any = None
    revision: int | None = None
    needs: Needs = attrs.field(factory=Needs)
    component: Component | None = None
    instance: Any = None
    models: ModelIdentities | None = None
    parts: Mapping[str, tuple[PartSpec, ...]] = attrs.field(factory=dict)

    @property
    def is_stable(self) -> bool:
        """Whether equal work can be recognised in a later run, that of its parts included."""
        return all(spec.revision is not None for _, spec in self.walk())

    @property
    def holds_instance(self) -> bool:
        """Whether it, or a part of it, is the only one of its kind: it has one user, in this process."""
        return any(spec.instance is not None for _, spec in self.walk())

    @property
    def asked_models(self) -> tuple[str, ...]:
        """The models that it and its parts ask, each once."""
        return tuple(dict.fromkeys(spec.model for _, spec in self.walk() if spec.model is not None))

    def walk(self, place: Where = ()) -> Iterator[tuple[Where, ComponentSpec]]:
        """It and all parts within parts, with where in its options each stands."""
        yield place, self
        for held in self.parts.values():
            for part in held:
                yield from part.spec.walk((*place, *part.place))

    def knowing(self, models: ModelIdentities) -> ComponentSpec:
        """The same that can tell what stands behind the names of its models."""
        known = {
            option: tuple(attrs.evolve(part, spec=part.spec.knowing(models)) for part in held)
            for option, held in self.parts.items()
        }
        return attrs.evolve(self, models=models, parts=known)

    @property
    def columns(self) -> Mapping[tuple[str, str], Column]:
        """The columns that it declared, by target and name; of one that does what a file says, those in the file."""
        found = self.component.columns if self.component is not None else getattr(self.instance, "columns", ())
        if self.component is not None and self.needs.option("by_image") is not None:
            found = (*found, *getattr(self.build(), "columns", ()))
        return {column.key: column for column in found}

    @property
    def identity(self) -> dict[str, Any]:
        """What of the component is part of a fingerprint: what itself is, and its parts."""
        return self._identity_without()

    @property
    def identity_of_training(self) -> dict[str, Any]:
        """The same without the options that only its answers depend on: what it learns is the same with any of them."""
        return self._identity_without(*self.needs.answering)

    def _identity_without(self, *options: str) -> dict[str, Any]:
        by_image = self.needs.option("by_image")
        left_out = options if by_image is None else (*options, by_image)
        return {**self.own_identity(left_out), **self._identity_of_parts}

    @property
    def identity_as_part(self) -> dict[str, Any]:
        """The same with all of every file: the images of a part are its holder's, whose key names none of them."""
        return {**self.own_identity(), **self._identity_of_parts}

    @property
    def _identity_of_parts(self) -> dict[str, Any]:
        parts = {option: [part.identity for part in held] for option, held in self.parts.items()}
        return {"parts": parts} if parts else {}

    def own_identity(self, without: Collection[str] = ()) -> dict[str, Any]:
        """Class, revision, the options that differ (but those in `without`), and its model."""
        options = {} if self.options is None else differing_options(self.options, without)
        revision = self.revision
        if self.options is not None:
            revision, options = at_revision(self.options, revision, options)
        found: dict[str, Any] = {"component": self.path, "revision": revision, "options": options}
        if self.model is not None and self.models is not None:
            found["model"] = [self.model, self.models.of(self.model)]
        return found

    def key_of(self) -> Callable[[str], bytes | None] | None:
        """What of a file that counts image by image is about each image; None for a component without such a file."""
        if self.needs.option("by_image") is None:
            return None
        found: Callable[[str], bytes | None] = self.build().key_of
        return found

    @property
    def model(self) -> str | None:
        """The "provider/model" it asks, if it needs one."""
        found: str | None = self.needs.read("model", self.options)
        return found

    @property
    def truth(self) -> str:
        """Where an evaluator takes the truth from: "source", or "graph" if its options say so."""
        return str(self.needs.read("truth", self.options) or "source")

    @property
    def shown_image(self) -> str:
        """Which picture an evaluator shows: "given", the image's own, or "blank" if its options say so."""
        return str(self.needs.read("image", self.options) or "given")

    @property
    def checkpoint(self) -> Path | None:
        """The folder its options name, of the weights it starts from when no step of the pipeline gives any."""
        value = self.needs.read("checkpoint", self.options)
        return None if value is None else Path(value)

    @property
    def lacks_weights(self) -> bool:
        """Whether it cannot work alone: it wants the weights of a training, and names no checkpoint."""
        return self.needs.option("checkpoint") is not None and self.takes_weights and self.checkpoint is None

    @property
    def is_trained(self) -> bool:
        """Whether it learns its weights from images: as all of its kind do, or as it offers to."""
        return TRAINING in KINDS[self.kind].all_methods or TRAINING in self.offers

    @property
    def takes_weights(self) -> bool:
        """Whether its weights are given to it in its resources, rather than read from the files of its options."""
        return any(verb.takes_weights(is_trained=self.is_trained) for verb in KINDS[self.kind].verbs)

    @property
    def offers(self) -> tuple[str, ...]:
        """What it has of the methods that its kind may have: as it was registered, or as the instance has them."""
        if self.component is not None:
            return self.component.offers
        return tuple(name for name in KINDS[self.kind].may_offer if callable(getattr(self.instance, name, None)))

    def target(self) -> type[Any]:
        """The class, imported now."""
        if self.component is not None:
            loaded: type[Any] = self.component.load()
            return loaded
        return type(self.instance)

    def notes(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Remarks of the component on the faults counted in its answers, if it has a static method `notes`.

        Without faults its class is not asked, which may take seconds to import where nothing was to do.
        """
        if not counts:
            return ()
        remark = getattr(self.target(), "notes", None)
        try:
            return () if remark is None else tuple(map(str, remark(counts)))
        except Exception as error:  # a remark is not worth the step that it is about
            return (f"its notes could not be made: {told(error)}",)

    def saved_options(self) -> dict[str, Any]:
        """Its options as plain values, defaults and those of its parts included, secrets replaced."""
        from sgforge.config import dump_options

        saved = dump_options(self.options)
        for option, held in self.parts.items():
            tables = [_saved_part(part) for part in held]
            saved[option] = tables if isinstance(saved.get(option), list) else tables[0]
        return saved

    def build(self) -> Any:
        """An instance of its own for each worker; an instance given by the user is the only one of its kind."""
        return self.instance if self.component is None else self.component.build(self.options)


def _saved_part(part: PartSpec) -> dict[str, Any]:
    return {"use": part.spec.name, "weight": part.weight, "name": part.name, **part.spec.saved_options()}


def find_spec(
    registry: Registry, kind: str, component: Any, settings: Mapping[str, Any], depth: int = 0
) -> tuple[ComponentSpec, tuple[Fault, ...]]:
    """The component that a step or source names, and the faults of its options; a wrong name is an error.

    With a fault in its own options these are None, so the component cannot be built. `depth`: how many hold it.
    """
    if not isinstance(component, str):
        spec, options = _instance_spec(kind, component)
        faults: tuple[Fault, ...] = ()
    else:
        from sgforge.config import check_options

        found = registry.lookup(kind, component)
        options, faults = check_options(found, settings, _keys_beside(kind, depth))
        spec = ComponentSpec(
            kind=kind,
            name=component,
            path=found.identity,
            settings=settings,
            options=options,
            revision=found.revision,
            needs=found.needs,
            component=found,
        )
    parts, wrong = _find_parts(registry, options, depth)
    return attrs.evolve(spec, parts=parts), (*faults, *wrong)


def _keys_beside(kind: str, depth: int) -> tuple[str, ...]:
    """The keys that stand among the options of a component where it is named, and are not its own."""
    if depth:
        return PART_KEYS
    return RESERVED_STEP_KEYS if KINDS[kind].verbs else KINDS[kind].reserved


def _find_parts(
    registry: Registry, options: Any, depth: int
) -> tuple[Mapping[str, tuple[PartSpec, ...]], tuple[Fault, ...]]:
    """The parts in typed options, and every fault of theirs."""
    found: dict[str, tuple[PartSpec, ...]] = {}
    faults: list[Fault] = []
    for field in attrs.fields(type(options)) if attrs.has(type(options)) else ():
        kind, given = kind_of_part(field), getattr(options, field.name)
        if kind is None or not given:
            continue
        is_one = isinstance(given, Use)
        uses: tuple[Use, ...] = (given,) if is_one else tuple(given)
        places = [(field.alias,) if is_one else (field.alias, number) for number in range(len(uses))]
        specs = [_find_part(registry, kind, *pair, depth, faults) for pair in zip(uses, places, strict=True)]
        found[field.alias] = tuple(
            PartSpec(name, given.weight, spec, place)
            for name, given, spec, place in zip(_named(uses, places, faults), uses, specs, places, strict=True)
            if spec is not None
        )
    return found, tuple(faults)


def _find_part(
    registry: Registry, kind: str, given: Use, place: Where, depth: int, faults: list[Fault]
) -> ComponentSpec | None:
    if depth == _DEEPEST:
        faults.append(Fault(place, f"{depth} components within each other: a default that holds itself has no end"))
        return None
    try:
        spec, wrong = find_spec(registry, kind, given.use, given.options, depth + 1)
    except SgforgeError as error:
        faults.append(Fault((*place, "use"), str(error), error.__cause__))
        return None
    faults.extend(fault.under(place) for fault in wrong)
    return spec


def _named(uses: Sequence[Use], places: Sequence[Where], faults: list[Fault]) -> list[str]:
    """The names of parts, unique in their option."""
    from sgforge.config import default_names

    names = default_names([given.label for given in uses], [given.name for given in uses])
    for number, name in enumerate(names):
        if name in names[:number]:
            faults.append(Fault((*places[number], "name"), f"there is a part {name!r} already: names are unique"))
    return names


def _instance_spec(kind: str, instance: Any) -> tuple[ComponentSpec, Any]:
    """The spec of an instance, and its options, which the spec has only if it names a revision too."""
    if isinstance(instance, type):
        raise ConfigError(f"{instance.__name__} is a class: give an instance of it, or a component's name")
    for method in KINDS[kind].all_methods[:1]:
        if not callable(getattr(instance, method, None)):
            raise ConfigError(f"{type(instance).__name__} is no {kind}, it has no method {method}()")
    options = getattr(instance, "options", None)
    revision = getattr(instance, "revision", None)
    is_known = isinstance(revision, int) and options is not None and attrs.has(type(options))
    kept: Any = options if is_known else None
    needs = getattr(instance, "needs", None)
    spec = ComponentSpec(
        kind=kind,
        name=type(instance).__name__,
        path=f"{type(instance).__module__}:{type(instance).__qualname__}",
        settings={},
        options=kept,
        revision=revision if is_known else None,
        needs=needs if isinstance(needs, Needs) else Needs(),
        instance=instance,
    )
    return spec, options


def why_here(spec: ComponentSpec, method: str) -> str | None:
    """Why a component works in the driver whatever the executor; None for one that may work elsewhere."""
    if spec.holds_instance:
        return "an instance cannot be sent"
    # The calls are what takes long, and they are made by the one gateway.
    return "it is async" if is_async(spec.target(), method) else None


def is_async(target: Any, method: str) -> bool:
    """Whether a component's method takes one sample and awaits, rather than a batch."""
    return inspect.iscoroutinefunction(getattr(target, method, None))


def trains(executor: Any) -> bool:
    """Whether an executor, or the class of one, opens trainings too, which the driver does otherwise."""
    return bool(getattr(executor, "trains", False))
