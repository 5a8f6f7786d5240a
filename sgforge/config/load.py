"""A config file into a `PipelineConfig`: TOML into steps, overridden, with the line of each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sgforge.config.document import Document, On, SourceKeys, StepKeys
from sgforge.config.faults import Fault, Where, as_written
from sgforge.config.lines import find_lines
from sgforge.config.overrides import apply_override
from sgforge.config.places import FilePlaces
from sgforge.config.strict import structure
from sgforge.config.values import DEFAULT_SOURCE, PipelineConfig, verbs_in
from sgforge.dataset.folder import check_branch
from sgforge.errors import ConfigError
from sgforge.images import Roots
from sgforge.plugins.hooks import RESERVED_STEP_KEYS
from sgforge.stages import VERBS, Selection
from sgforge.steps import ExecutorChoice, SourceStep, Step
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import with_article

__all__ = ["load_config", "parse_config"]


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> PipelineConfig:
    """The config in a TOML file, with `overrides` ("a.b=c") applied. What is wrong with its tables is in its `faults`.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or an override cannot be applied.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist; `sgforge init {path}` writes one to start from") from None
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {path} is not UTF-8 text: {error}") from None
    return parse_config(text, overrides, name=str(path))


def parse_config(text: str, overrides: Sequence[str] = (), *, name: str = "config") -> PipelineConfig:
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
    only_source = DEFAULT_SOURCE if "source" in document else None
    places = FilePlaces(name, find_lines(text.replace("\r\n", "\n")), origins, only_source)
    return _Reader(document).read(places)


_DECLARED_TWICE = re.compile(r"Cannot declare \('([^']*)',\) twice")
_SEVERAL = "several sources are [sources.NAME] each, each step is a [[step]]"
_OTHER_FORMS = (
    ("step", Mapping, "write [[step]] with two brackets, before each step"),
    ("source", list, "write [source] with one bracket, or [sources.NAME] for each of several"),
)


class _Reader:
    """Reads one document and gathers its faults; every part is read, whatever is wrong with the others."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._faults: list[Fault] = []

    def read(self, places: FilePlaces) -> PipelineConfig:
        """What can be read of the document, and every fault of the rest."""
        top = self._structure(self._in_form(), Document, ()) or Document(dataset=Path())
        sources = self._read_sources()
        steps = self._read_steps()
        for name in _table(self._document.get("roots")):
            try:
                Roots({name: "."})
            except ConfigError as error:
                self._faults.append(Fault(("roots", name), str(error)))
        self._check_branch(self._document.get("branch"))
        return PipelineConfig(
            dataset=top.dataset,
            branch=top.branch,
            roots=top.roots,
            sources=sources,
            models=top.models,
            gateway=top.gateway,
            responses=top.responses,
            executor=self._read_executor(),
            steps=tuple(steps),
            faults=tuple(self._faults),
            places=places,
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

    def _read_sources(self) -> dict[str, SourceStep | None]:
        found: dict[str, SourceStep | None] = {}
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

    def _read_executor(self) -> ExecutorChoice | None:
        table = self._document.get("executor")
        if not isinstance(table, Mapping):  # what is no table is told already
            return None
        use = self._use(table, ("executor",), 'an executor, such as use = "local"')
        options = {key: value for key, value in table.items() if key != "use"}
        return None if use is None else ExecutorChoice(use, options)

    def _use(self, table: Mapping[str, Any], where: Where, what: str) -> str | None:
        """The name of the component that a table is about."""
        use = table.get("use")
        if isinstance(use, str):
            return use
        wrong = "missing" if use is None else f"must be a text, not {as_written(use)}"
        self._faults.append(Fault((*where, "use"), f"{wrong}: name {what}"))
        return None

    def _read_source(self, table: Mapping[str, Any], where: Where) -> SourceStep | None:
        use = self._use(table, where, 'a source, such as use = "coco"')
        if use is None:
            return None
        keys = self._structure({key: table[key] for key in ("copies",) if key in table}, SourceKeys, where)
        options = {key: value for key, value in table.items() if key not in ("use", "copies")}
        return SourceStep(use, options, None if keys is None else keys.copies)

    def _read_steps(self) -> list[Step | None]:
        tables = self._document.get("step")
        if tables is None or tables == []:
            self._faults.append(Fault((), "there is no [[step]]: say what to do with the images"))
        return [
            self._read_step(table, ("step", index))
            for index, table in enumerate(tables if isinstance(tables, list) else [])
            if isinstance(table, Mapping)
        ]

    def _read_step(self, table: Mapping[str, Any], where: Where) -> Step | None:
        keys = self._structure({key: table[key] for key in RESERVED_STEP_KEYS if key in table}, StepKeys, where)
        if keys is None:
            keys = _salvage(table)
        verbs = verbs_in(table)
        options = {key: value for key, value in table.items() if key not in RESERVED_STEP_KEYS and key not in verbs}
        if len(verbs) != 1:
            self._faults.append(Fault(where, _explain_verbs(verbs, options)))
            return None
        verb = verbs[0]
        use = table[verb]
        if not isinstance(use, str):
            self._faults.append(
                Fault((*where, verb), f"must name {with_article(VERBS[verb].kind)}, not {as_written(use)}")
            )
            return None
        return Step(
            verb,
            use,
            options,
            name=keys.name,
            on=None if keys.on is None else Selection(_names(keys.on.source), _names(keys.on.split)),
            weights=keys.weights,
            batch_size=keys.batch_size,
            workers=keys.workers,
            run=keys.run,
        )


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
