"""ComponentSpec: one component of a plan with its checked options, ready to be built by whoever runs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from sgforge.engine.planning.fingerprints import differing_options
from sgforge.errors import ConfigError
from sgforge.plugins import Component, Registry
from sgforge.stages import KINDS, Needs
from sgforge.text.blame import told

if TYPE_CHECKING:
    from sgforge.config import Fault
    from sgforge.engine.models.providers import ModelIdentities

__all__ = ["ComponentSpec", "find_spec", "is_async", "why_here"]


@attrs.frozen(eq=False)
class ComponentSpec:
    """What stands behind the name (or the instance) in a step.

    `settings` are the options as given, plain values, `options` the typed ones. `revision` is None for an instance
    that names none: its work cannot be recognised later, so it is always done again. `models` knows what stands behind
    the name of its model; it is asked when a fingerprint is made, as weights may have to be read.
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

    @property
    def is_stable(self) -> bool:
        """Whether equal work can be recognised in a later run."""
        return self.revision is not None

    @property
    def identity(self) -> dict[str, Any]:
        """What of the component is part of a fingerprint: class, revision, the options that differ, and its model."""
        options = {} if self.options is None else differing_options(self.options, without=self.needs.option("by_image"))
        found: dict[str, Any] = {"component": self.path, "revision": self.revision, "options": options}
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
    def checkpoint(self) -> Path | None:
        """The folder its options name, of the weights it starts from when no step of the pipeline gives any."""
        value = self.needs.read("checkpoint", self.options)
        return None if value is None else Path(value)

    def target(self) -> type[Any]:
        """The class, imported now."""
        if self.component is not None:
            loaded: type[Any] = self.component.load()
            return loaded
        return type(self.instance)

    def notes(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Remarks of the component on the counts of its answers, if it has a static method `notes`."""
        remark = getattr(self.target(), "notes", None)
        try:
            return () if remark is None else tuple(map(str, remark(counts)))
        except Exception as error:  # a remark is not worth the step that it is about
            return (f"its notes could not be made: {told(error)}",)

    def build(self) -> Any:
        """An instance of its own for each worker; an instance given by the user is the only one of its kind."""
        return self.instance if self.component is None else self.component.build(self.options)


def find_spec(
    registry: Registry, kind: str, component: Any, settings: Mapping[str, Any]
) -> tuple[ComponentSpec, tuple[Fault, ...]]:
    """The component that a step or source names, and the faults of its options; a wrong name is an error.

    With a fault the options are None, so the component cannot be built.
    """
    if not isinstance(component, str):
        return _instance_spec(kind, component), ()
    from sgforge.config import check_options

    found = registry.lookup(kind, component)
    options, faults = check_options(found, settings)
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
    return spec, faults


def _instance_spec(kind: str, instance: Any) -> ComponentSpec:
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
    return ComponentSpec(
        kind=kind,
        name=type(instance).__name__,
        path=f"{type(instance).__module__}:{type(instance).__qualname__}",
        settings={},
        options=kept,
        revision=revision if is_known else None,
        needs=needs if isinstance(needs, Needs) else Needs(),
        instance=instance,
    )


def why_here(spec: ComponentSpec, method: str) -> str | None:
    """Why a component works in the driver whatever the executor; None for one that may work elsewhere."""
    if spec.instance is not None:
        return "an instance cannot be sent"
    # The calls are what takes long, and they are made by the one gateway.
    return "it is async" if is_async(spec.target(), method) else None


def is_async(target: Any, method: str) -> bool:
    """Whether a component's method takes one sample and awaits, rather than a batch."""
    return inspect.iscoroutinefunction(getattr(target, method, None))
