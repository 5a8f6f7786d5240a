"""The registry: components by kind and name, and what became of every plugin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from sgforge.errors import ConfigError, PluginError
from sgforge.plugins.components import Component, Owner, PluginReport
from sgforge.plugins.events import Events
from sgforge.plugins.hooks import collect_components, find_problems, new_manager
from sgforge.text.blame import place_of, words_of
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import with_article

__all__ = ["Registry"]


class Registry:
    """Components of the plugins added so far. A broken plugin is reported, and fatal only where it is used."""

    def __init__(self) -> None:
        self._manager = new_manager()
        self._owners: dict[int, Owner] = {}
        self._reports: list[PluginReport] = []
        self._found: dict[tuple[str, str], list[Component]] = {}
        self._skipped: tuple[str, ...] = ()
        self.events = Events(self._manager, self._owners)

    def add(self, plugin: object, owner: Owner, entry_point: str = "") -> PluginReport:
        """Register a plugin (a module, or any object with hooks); what goes wrong is in the report, never raised."""
        components: list[Component] = []
        was_registered = self._manager.is_registered(plugin)
        try:
            problems = find_problems(plugin)
            if problems:
                raise PluginError("; ".join(problems))
            self._manager.register(plugin)
            self._owners[id(plugin)] = owner
            collect_components(self._manager, plugin, owner, components)
            self._check_columns(components)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also a panic of an extension module, or sys.exit()
            if self._manager.is_registered(plugin) and not was_registered:
                self._manager.unregister(plugin)
                self._owners.pop(id(plugin), None)
            return self.add_failure(owner, entry_point, error, components)
        for component in components:
            self._found.setdefault((component.kind, component.name), []).append(component)
        self._reports.append(PluginReport(owner, entry_point, tuple(components)))
        return self._reports[-1]

    def _check_columns(self, components: Iterable[Component]) -> None:
        """Two may declare the same column with one type; with another it is an error naming both."""
        known = [other for found in self._found.values() for other in found]
        for component in components:
            for other in known:
                _find_other_type(component, other)
            known.append(component)

    def add_failure(
        self, owner: Owner, entry_point: str, error: BaseException, components: Iterable[Component] = ()
    ) -> PluginReport:
        """Note a plugin that could not be loaded; `components` is what it had registered before it failed."""
        report = PluginReport(
            owner=owner,
            entry_point=entry_point,
            components=tuple(components),
            problems=(_describe(error),),
            error=error,
        )
        self._reports.append(report)
        return report

    def note_skipped(self, plugins: Iterable[str]) -> None:
        """Note installed plugins that were left out on purpose, so that an unknown name can be explained."""
        self._skipped = tuple(sorted(plugins))

    @property
    def reports(self) -> tuple[PluginReport, ...]:
        """One report per plugin in the order of loading, clashes of names included."""
        return tuple(
            attrs.evolve(report, problems=(*report.problems, *self._clashes_of(report.owner)))
            for report in self._reports
        )

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of installed plugins that SGFORGE_PLUGINS leaves out."""
        return self._skipped

    def components(self, kind: str | None = None) -> tuple[Component, ...]:
        """Every usable component of a kind (of all kinds for None), by kind and name."""
        return tuple(
            found[0]
            for key, found in sorted(self._found.items())
            if len(found) == 1 and (kind is None or key[0] == kind)
        )

    def kind_of(self, kinds: Sequence[str], name: str) -> str:
        """Of several kinds that of the component by this name, the first where there is none.

        Raises:
            PluginError: there is one of several of these kinds; it names all.
        """
        found = [one for kind in kinds for one in self._found.get((kind, name), [])[:1]]
        if len(found) > 1:
            raise PluginError(
                f"{' and '.join(map(str, found))} have one name here: rename one, or load only the plugins you want "
                "with SGFORGE_PLUGINS=a,b"
            )
        return found[0].kind if found else kinds[0]

    def lookup(self, kind: str, name: str, *, also: Iterable[str] = ()) -> Component:
        """The component of a kind by name; nothing is imported yet. `also`: further names to offer as the near one.

        Raises:
            ConfigError: there is no such name; offers the near one, or the kind that has it.
            PluginError: two plugins claim the name, or a plugin that could provide it is broken (the original error
                with its traceback is the cause).
        """
        found = self._found.get((kind, name), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise PluginError(_describe_clash(found))
        broken = [report for report in self._reports if report.error is not None]
        for report in broken:
            if any((component.kind, component.name) == (kind, name) for component in report.components):
                raise PluginError(
                    f"{kind} {name!r} comes from {report.owner}, which failed to load: {'; '.join(report.problems)}"
                ) from report.error
        message = f"there is no {kind} {name!r}{''.join(f'; {hint}' for hint in self._hints(kind, name, also))}"
        if broken:
            raise PluginError(message) from broken[0].error
        raise ConfigError(message)

    def _hints(self, kind: str, name: str, also: Iterable[str]) -> Iterator[str]:
        others = [component.kind for component in self.components() if component.name == name]
        if others:
            yield f"{name!r} is {' and '.join(map(with_article, others))}"
        else:
            yield choices(name, [*also, *(component.name for component in self.components(kind))])
        for report in self._reports:
            if report.error is not None:
                yield f"{report.owner} failed to load and may provide it ({'; '.join(report.problems)})"
        if self._skipped:
            yield f"SGFORGE_PLUGINS leaves out: {', '.join(self._skipped)}"

    def _clashes_of(self, owner: Owner) -> Iterator[str]:
        for _, found in sorted(self._found.items()):
            if len(found) > 1 and any(component.owner == owner for component in found):
                yield _describe_clash(found)


def _find_other_type(component: Component, other: Component) -> None:
    declared = {column.key: column for column in other.columns}
    for column in component.columns:
        if declared.get(column.key, column) != column:
            raise PluginError(
                f"{component} declares {column}, {other} declares {declared[column.key]}: one name has one type"
            )


def _describe_clash(found: Iterable[Component]) -> str:
    components = list(found)
    if len({component.owner for component in components}) == 1:
        return f"{components[0]} is registered {len(components)} times: rename all but one"
    owners = " and ".join(str(component.owner) for component in components)
    return (
        f"{components[0].kind} {components[0].name!r} is claimed by {owners}: "
        "uninstall one, or load only the plugins you want with SGFORGE_PLUGINS=a,b"
    )


def _describe(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) while it was loaded"
    # pluggy's own texts span several lines.
    return f"{type(error).__name__}: {' '.join(words_of(error).split())}{place_of(error)}"
