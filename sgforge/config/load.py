"""A config file into a `PipelineConfig`: read, overridden, checked as a whole."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sgforge.config.document import Document, On, StepKeys
from sgforge.config.faults import Fault, Where, as_error, as_written
from sgforge.config.lines import find_lines
from sgforge.config.options import check_options
from sgforge.config.overrides import apply_override
from sgforge.config.strict import structure
from sgforge.config.values import DEFAULT_SOURCE, PipelineConfig, SourceConfig, StepConfig, default_names
from sgforge.dataset.folder import check_branch
from sgforge.errors import ConfigError, PluginError
from sgforge.images import Roots
from sgforge.near import choices
from sgforge.plugins import Registry, load_plugins
from sgforge.plugins.hooks import RESERVED_STEP_KEYS
from sgforge.stages import VERBS, Selection, weight_givers

__all__ = ["load_config", "parse_config"]


def load_config(path: Path | str, overrides: Sequence[str] = (), *, registry: Registry | None = None) -> PipelineConfig:
    """The config in a TOML file, with `overrides` ("a.b=c") applied, checked against the plugins' components.

    Raises:
        ConfigError: the file cannot be read, or holds faults: all of them, each with its line and path.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist; `sgforge init {path}` writes one to start from") from None
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {path} is not UTF-8 text: {error}") from None
    return parse_config(text, overrides, name=str(path), registry=registry)


def parse_config(
    text: str, overrides: Sequence[str] = (), *, name: str = "config", registry: Registry | None = None
) -> PipelineConfig:
    """The config that a TOML text holds; `name` stands for its file in messages. See `load_config`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        twice = _DECLARED_TWICE.match(str(error))
        hint = f": [{twice[1]}] stands there before; {_SEVERAL}" if twice else ""
        raise ConfigError(f"{name}: not valid TOML: {error}{hint}") from None
    # The key alone, never the value: it could be a secret, and messages end up in logs.
    origins = {
        apply_override(document, override): f"--set {override.partition('=')[0].strip()}: " for override in overrides
    }
    reader = _Reader(document, registry or load_plugins())
    config = reader.read()
    if config is None:
        lines = find_lines(text.replace("\r\n", "\n"))
        raise as_error(name, reader.in_order(lines), lambda where: _locate(where, name, lines, origins))
    return config


def _locate(where: Where, name: str, lines: Mapping[Where, int], origins: Mapping[Where, str]) -> str:
    for length in range(len(where), 0, -1):
        prefix = where[:length]
        if prefix in origins:
            return origins[prefix]
        if prefix in lines:
            return f"{name}:{lines[prefix]}: "
    # A table that only parts of it stand for: an array, or [a.b] without [a].
    inside = [line for path, line in lines.items() if where and path[: len(where)] == where]
    return f"{name}:{min(inside)}: " if inside else f"{name}: "


_DECLARED_TWICE = re.compile(r"Cannot declare \('([^']*)',\) twice")
_SEVERAL = "several sources are [sources.NAME] each, each step is a [[step]]"
_OTHER_FORMS = (
    ("step", Mapping, "write [[step]] with two brackets, before each step"),
    ("source", list, "write [source] with one bracket, or [sources.NAME] for each of several"),
)


class _Reader:
    """Reads one document and gathers its faults; every part is read, whatever is wrong with the others."""

    def __init__(self, document: Mapping[str, Any], registry: Registry) -> None:
        self._document = document
        self._registry = registry
        self._faults: list[Fault] = []

    def in_order(self, lines: Mapping[Where, int]) -> list[Fault]:
        """The faults as they follow each other in the file."""
        return sorted(
            self._faults,
            key=lambda fault: next(
                (lines[fault.where[:n]] for n in range(len(fault.where), 0, -1) if fault.where[:n] in lines), 0
            ),
        )

    def read(self) -> PipelineConfig | None:
        """The config, or None if there are faults."""
        top = self._structure(self._in_form(), Document, ())
        sources = self._read_sources()
        steps = self._read_steps(set(sources))
        for name in _table(self._document.get("roots")):
            try:
                Roots({name: "."})
            except ConfigError as error:
                self._faults.append(Fault(("roots", name), str(error)))
        self._check_branch(self._document.get("branch"))
        for name in _table(self._document.get("models")):
            if not all(name.partition("/")):
                self._faults.append(Fault(("models", name), 'must read [models."provider/model"]'))
        if self._faults or top is None:
            return None
        return PipelineConfig(
            top.dataset, top.branch, top.roots, sources, top.models, top.gateway, top.responses, tuple(steps)
        )

    def _in_form(self) -> Mapping[str, Any]:
        """The document without tables that have brackets too many or too few, each told with its right form."""
        wrong = {key: form for key, kind, form in _OTHER_FORMS if isinstance(self._document.get(key), kind)}
        self._faults.extend(Fault((key,), form) for key, form in wrong.items())
        return {key: value for key, value in self._document.items() if key not in wrong}

    def _check_branch(self, branch: Any) -> None:
        try:
            if isinstance(branch, str):
                check_branch(branch)
        except ConfigError as error:
            self._faults.append(Fault(("branch",), str(error)))

    def _structure(self, value: Any, cls: type[Any], where: Where) -> Any:
        typed, faults = structure(value, cls)
        self._faults.extend(fault.under(where) for fault in faults)
        return typed

    def _read_sources(self) -> dict[str, SourceConfig]:
        found: dict[str, SourceConfig] = {}
        single, named = self._document.get("source"), _table(self._document.get("sources"))
        if single is not None and named:
            self._faults.append(Fault(("source",), "write either [source], or [sources.NAME] for each of several"))
        if isinstance(single, Mapping):
            found[DEFAULT_SOURCE] = self._read_source(single, ("source",))
        for name, table in named.items():
            if isinstance(table, Mapping):
                found[name] = self._read_source(table, ("sources", name))
        if not found and "source" not in self._document and not named:
            self._faults.append(Fault((), "there is no [source]: say where the images come from"))
        return found

    def _read_source(self, table: Mapping[str, Any], where: Where) -> SourceConfig:
        use = table.get("use")
        options = {key: value for key, value in table.items() if key != "use"}
        if not isinstance(use, str):
            known = [component.name for component in self._registry.components("source")]
            wrong = "missing" if use is None else f"must be a text, not {as_written(use)}"
            self._faults.append(Fault((*where, "use"), f"{wrong}: name a source; {choices(str(use), known)}"))
            return SourceConfig("", options)
        self._check_options("source", use, options, where, (*where, "use"))
        return SourceConfig(use, options)

    def _check_options(self, kind: str, name: str, options: Mapping[str, Any], where: Where, at: Where) -> None:
        try:
            _, faults = check_options(self._registry.lookup(kind, name), options)
        except (ConfigError, PluginError) as error:
            self._faults.append(Fault(at, str(error), error.__cause__))
        else:
            self._faults.extend(fault.under(where) for fault in faults)

    def _read_steps(self, sources: set[str]) -> list[StepConfig]:
        tables = self._document.get("step")
        if tables is None or tables == []:
            self._faults.append(Fault((), "there is no [[step]]: say what to do with the images"))
        found = [
            self._read_step(table, ("step", index))
            for index, table in enumerate(tables if isinstance(tables, list) else [])
            if isinstance(table, Mapping)
        ]
        names = default_names([step.verb for step in found], [step.name for step in found])
        for index, step in enumerate(found):
            self._check_step(index, step, names, found, sources)
        return found

    def _read_step(self, table: Mapping[str, Any], where: Where) -> StepConfig:
        keys = self._structure({key: table[key] for key in RESERVED_STEP_KEYS if key in table}, StepKeys, where)
        if keys is None:
            keys = _salvage(table)
        options = {key: value for key, value in table.items() if key not in RESERVED_STEP_KEYS and key not in VERBS}
        on = None if keys.on is None else Selection(_names(keys.on.source), _names(keys.on.split))
        verbs = [verb for verb in VERBS if verb in table]
        if len(verbs) != 1:
            self._faults.append(Fault(where, _explain_verbs(verbs, options)))
            return StepConfig("", "", options, keys.name, on, keys.weights)
        verb = verbs[0]
        use = table[verb]
        if isinstance(use, str):
            self._check_options(VERBS[verb].kind, use, options, where, (*where, verb))
        else:
            self._faults.append(Fault((*where, verb), f"must name a {VERBS[verb].kind}, not {as_written(use)}"))
        return StepConfig(verb, str(use), options, keys.name, on, keys.weights, keys.batch_size, keys.workers)

    def _check_step(
        self, index: int, step: StepConfig, names: list[str], steps: list[StepConfig], sources: set[str]
    ) -> None:
        where: Where = ("step", index)
        if names.index(names[index]) < index:
            message = f"there is a step {names[index]!r} already, step[{names.index(names[index])}]: names are unique"
            self._faults.append(Fault((*where, "name"), message))
        if step.weights is not None:
            trained = [name for name, other in zip(names[:index], steps, strict=False) if other.verb in weight_givers()]
            if step.weights not in trained:
                givers = " or ".join(weight_givers())
                message = f"there is no earlier {givers} step {step.weights!r}; {choices(step.weights, trained)}"
                self._faults.append(Fault((*where, "weights"), message))
        for name in (step.on.sources or ()) if step.on is not None else ():
            if name not in sources:
                message = f"there is no source {name!r}; {choices(name, sources)}"
                self._faults.append(Fault((*where, "on", "source"), message))


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _salvage(table: Mapping[str, Any]) -> StepKeys:
    """What can be read of faulty reserved keys, so that the checks across steps still see this step."""
    on, _ = structure(table.get("on"), On)
    name = _text(table.get("name"))
    return StepKeys(name=name if name and name.isprintable() else None, on=on, weights=_text(table.get("weights")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _names(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else value


def _explain_verbs(verbs: list[str], options: Mapping[str, Any]) -> str:
    if verbs:
        return f"names {len(verbs)} stages ({', '.join(verbs)}): a step has one; start another [[step]]"
    for key in options:
        message = choices(key, VERBS)
        if message.startswith("did you mean"):
            return f"names no stage, but has {key!r}: {message}"
    return f'names no stage; write one of {", ".join(VERBS)}, such as filter = "spatial-rules"'
