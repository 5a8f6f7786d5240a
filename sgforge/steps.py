"""Step and SourceStep: what a pipeline is made of, before anything is looked up or checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import attrs

from sgforge.errors import ConfigError
from sgforge.stages import VERBS, Selection, Use, Verb

__all__ = ["ExecutorChoice", "RunSettings", "SourceStep", "Step", "selection_of"]


def _whole_from_one(instance: Any, attribute: attrs.Attribute[Any], value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{attribute.name} must be a whole number from 1, not {value!r}")


def _seconds(instance: Any, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is None:
        return
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{attribute.name} must be a number of seconds above 0, not {value!r}")


@attrs.frozen(kw_only=True)
class RunSettings:
    """How the training of a step is run; in no key of its answer.

    `processes`: how many train together, each told its RANK and WORLD_SIZE. `grace_s`: seconds that they have to save
    their state once they are asked to stop. `timeout_s`: seconds after which they are asked to, None for never.
    """

    processes: int = attrs.field(default=1, validator=_whole_from_one)
    grace_s: float = attrs.field(default=10.0, validator=_seconds)
    timeout_s: float | None = attrs.field(default=None, validator=_seconds)


def _run_settings(value: RunSettings | Mapping[str, Any] | None) -> RunSettings | None:
    """`run` as a RunSettings: `{"processes": 2}`."""
    if value is None or isinstance(value, RunSettings):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f'run: must be a table such as {{"processes": 2}}, not {value!r}')
    known = [field.name for field in attrs.fields(RunSettings)]
    unknown = sorted(map(str, set(value) - set(known)))
    if unknown:
        raise ConfigError(f"run: unknown key {unknown[0]!r}; it takes {', '.join(known)}")
    try:
        return RunSettings(**value)
    except ConfigError as error:
        raise ConfigError(f"run: {error}") from None


def selection_of(value: Selection | Mapping[str, Any] | None) -> Selection:
    """`on` as a Selection: `{"source": "seed", "split": ["train", "val"]}`, each a text or a list of texts."""
    if value is None:
        return Selection()
    if isinstance(value, Selection):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f'on: must be a table such as {{"split": "train"}} or {{"source": "seed"}}, not {value!r}')
    unknown = sorted(map(str, set(value) - {"source", "split"}))
    if unknown:
        raise ConfigError(f"on: unknown key {unknown[0]!r}; it takes source and split")
    return Selection(_names(value.get("source"), "source"), _names(value.get("split"), "split"))


def _names(value: str | Iterable[str] | None, key: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"on: {key} must be a name or a list of names, not {value!r}")
    return names


def _plain(value: Any) -> Any:
    """A Python option as the value a config file would hold, so that both take the same way into the typed options."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Use):
        return _plain(value.as_table()) if isinstance(value.use, str) else value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [_plain(item) for item in items]
    return value


def _options(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(item) for key, item in value.items() if item is not None}


def _check_positive(instance: Step, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"{attribute.name} of step {instance.verb!r} must be a whole number from 1, not {value!r}")


def _check_copies(instance: SourceStep, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None:
        _whole_from_one(instance, attribute, value)


@attrs.frozen
class Step:
    """One step of a pipeline: a verb, a component (its name, or an instance) and its options, not yet checked.

    `name` defaults to the verb, numbered from its second use on. `on`: which images, {"source": ..., "split": ...} by
    one name or several; all of them without it, train and refine those of split "train", evaluate the held-out ones.
    `weights`: the name of the earlier train or refine step whose weights it takes; without it those of the nearest
    that fits. `batch_size`: samples a sync component gets at most at once. `workers`: threads of a sync component, each
    with its own instance; calls in flight of an async one. `run`: how a training is run, each key of `RunSettings`
    optional: {"processes": 2, "grace_s": 60, "timeout_s": 3600}. Every other keyword argument of a verb is an option of
    the component, as `sgforge plugins NAME` lists them; an instance has its options already.
    """

    verb: str
    component: Any
    options: Mapping[str, Any] = attrs.field(factory=dict, converter=_options)
    name: str | None = None
    on: Selection = attrs.field(default=None, converter=selection_of)
    weights: str | None = None
    batch_size: int | None = attrs.field(default=None, validator=_check_positive)
    workers: int | None = attrs.field(default=None, validator=_check_positive)
    run: RunSettings | None = attrs.field(default=None, converter=_run_settings)

    def __attrs_post_init__(self) -> None:
        if self.verb not in VERBS:
            raise ConfigError(f"{self.verb!r} is no step; steps: {', '.join(VERBS)}")
        if self.name is not None and not (isinstance(self.name, str) and self.name and self.name.isprintable()):
            raise ConfigError(f"the name of a step must be one line of printable text, not {self.name!r}")
        if self.weights is not None and not isinstance(self.weights, str):
            raise ConfigError(
                f"weights of step {self.verb!r} must be the name of an earlier step, not {self.weights!r}"
            )
        if self.options and not isinstance(self.component, str):
            raise ConfigError(
                f"{self.verb}({type(self.component).__name__}, ...): an instance has its options already; "
                f"leave out {', '.join(self.options)}"
            )

    @property
    def kind(self) -> Verb:
        """The verb's entry: component kind, method, item step or barrier."""
        return VERBS[self.verb]

    @property
    def label(self) -> str:
        """The component's name as shown to people: an instance goes by its class."""
        return self.component if isinstance(self.component, str) else type(self.component).__name__


@attrs.frozen
class ExecutorChoice:
    """Where components work: an executor (its name, or an instance) and its options, not yet checked."""

    component: Any
    options: Mapping[str, Any] = attrs.field(factory=dict, converter=_options)

    @classmethod
    def of(cls, given: Any) -> ExecutorChoice:
        """An executor as it is given in Python: chosen with its options, by its name alone, or an instance."""
        return given if isinstance(given, cls) else cls(given)


@attrs.frozen
class SourceStep:
    """Where samples come from: a source component (its name, or an instance) and its options, not yet checked.

    `copies`: how often each image is taken, as "ID~0", "ID~1" and so on, which are one group: its name, ID, stands in
    column `group` of the image. None for once, under its own id.
    """

    component: Any
    options: Mapping[str, Any] = attrs.field(factory=dict, converter=_options)
    copies: int | None = attrs.field(default=None, validator=_check_copies)

    @property
    def label(self) -> str:
        """The component's name as shown to people."""
        return self.component if isinstance(self.component, str) else type(self.component).__name__
