"""What a plugin registers: a component with its owner, loaded only when it is used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import attrs

from sgforge.columns.declared import Column
from sgforge.errors import PluginError
from sgforge.stages import KINDS, Needs
from sgforge.text.blame import words_of
from sgforge.text.did_you_mean import choices

__all__ = ["Component", "Owner", "PluginReport"]


@attrs.frozen
class Owner:
    """Who registered something: the plugin (name of its entry point) and its distribution with version."""

    plugin: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        if self.distribution is None:
            return f"plugin {self.plugin}"
        return f"{self.distribution} {self.version} (plugin {self.plugin})"


@attrs.frozen
class Component:
    """One registered component; `target` is a class, or text "module:Class" that is imported when it is used.

    `config` is the attrs class of its options, None if it has none. A command's target may also be a module. `columns`:
    the further ones that it fills.
    """

    kind: str
    name: str
    target: str | type[Any]
    config: type[Any] | None
    needs: Needs
    revision: int
    owner: Owner
    offers: tuple[str, ...] = ()
    moved_from: str | None = None
    columns: tuple[Column, ...] = ()

    @property
    def identity(self) -> str:
        """What names it in keys of answers: where its target was when they were first made."""
        return self.moved_from or self.path

    @property
    def path(self) -> str:
        """The target as "module:Class" text, for people."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}:{self.target.__qualname__}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.owner}"

    def load(self) -> Any:
        """The target class (of a command, possibly its module), imported now.

        Raises:
            PluginError: the module or the class cannot be imported, or lacks a method that its kind must have.
        """
        target = self._import() if isinstance(self.target, str) else self.target
        kind = KINDS[self.kind]
        if not isinstance(target, type) and not (kind.may_be_module and isinstance(target, ModuleType)):
            raise PluginError(f"{self}: target {self.path!r} is not a class")
        missing = [name for name in (*kind.all_methods, *self.offers) if not callable(getattr(target, name, None))]
        if missing:
            raise PluginError(f"{self}: {self.path} has no method {', '.join(f'{name}()' for name in missing)}")
        return target

    def build(self, options: object = None) -> Any:
        """A new instance from typed options; None stands for the defaults. A command that is a module is itself."""
        target = self.load()
        if isinstance(target, ModuleType):
            return target
        if self.config is None:
            return target()
        return target(self.config() if options is None else options)

    def mend(self, module: str) -> str:
        """The pip command that brings a module this component needs."""
        if self.needs.extra:
            return f"pip install '{self.owner.distribution or 'sgforge'}[{self.needs.extra}]'"
        return f"pip install {module.partition('.')[0]} (or the distribution that holds it)"

    def _import(self) -> Any:
        module_name, _, attribute = str(self.target).partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise PluginError(f"{self}: {self._explain_missing(error)}") from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(
                f"{self}: importing {module_name!r} failed: {type(error).__name__}: {words_of(error)} "
                "(--debug shows where)"
            ) from error
        if not attribute:
            return module
        found = getattr(module, attribute, None)
        if found is None:
            public = [name for name in vars(module) if not name.startswith("_")]
            raise PluginError(f"{self}: module {module_name!r} has no {attribute!r}; {choices(attribute, public)}")
        return found

    def _explain_missing(self, error: ModuleNotFoundError) -> str:
        missing = error.name or str(error)
        if missing.partition(".")[0] in {name.partition(".")[0] for name in self.needs.modules}:
            return f"it needs the module {missing!r}, which is not installed: {self.mend(missing)}"
        return f"its target {self.target!r} cannot be imported: there is no module {missing!r}"


@attrs.frozen
class PluginReport:
    """How loading one plugin went.

    `entry_point` is "name = module" as its distribution declares it. `problems` has a sentence per fault; `error` is
    the original exception with its traceback, kept for when the plugin is used. A clash of names leaves the rest of a
    plugin in use, any other problem takes all of it out.
    """

    owner: Owner
    entry_point: str
    components: tuple[Component, ...] = ()
    problems: tuple[str, ...] = ()
    error: BaseException | None = attrs.field(default=None, eq=False)

    @property
    def ok(self) -> bool:
        """Whether everything this plugin offers can be used."""
        return not self.problems
