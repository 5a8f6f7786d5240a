"""The hooks of one plugin: checked against the specifications, then its registrations collected."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, get_args

import attrs
import pluggy

from sgforge import hookspecs
from sgforge.columns.declared import SHOWABLE, Column
from sgforge.errors import PluginError
from sgforge.graph.values import FILE
from sgforge.hookspecs import API_VERSION, PROJECT, Register
from sgforge.plugins.components import Component, Owner
from sgforge.stages import KINDS, VERBS, Kind, Needs, Use
from sgforge.stages.parts import PART_KEYS, kind_of_part
from sgforge.stages.values import ReadByName
from sgforge.text.did_you_mean import choices
from sgforge.text.wording import with_article

__all__ = ["RESERVED_STEP_KEYS", "collect_components", "find_problems", "new_manager"]

RESERVED_STEP_KEYS: Final = ("name", "on", "weights", "batch_size", "workers", "run")
"""Keys of a step that are the pipeline's, so that no option may use them."""

_PREFIX: Final = f"{PROJECT}_"
_SPEC_MARK: Final = f"{PROJECT}_spec"
_IMPL_MARK: Final = f"{PROJECT}_impl"
_READ_BY_NAME: Final = get_args(ReadByName)
_API_ATTRIBUTE: Final = f"{PROJECT}_api"
_REGISTER: Final = f"{PROJECT}_register_"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_MODULE: Final = re.compile(r"[A-Za-z_][\w.]*")
_KIND_OF_HOOK: Final = {f"{_REGISTER}{kind.plural}": kind for kind in KINDS.values()}
_HOOKS: Final = {
    name: tuple(inspect.signature(value).parameters)
    for name, value in vars(hookspecs).items()
    if hasattr(value, _SPEC_MARK)
}


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows every hook specification and no plugin."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def find_problems(plugin: object) -> list[str]:
    """What is wrong with the hooks of a plugin, a sentence each: its API version, misspelt and undecorated hooks."""
    problems = []
    api = getattr(plugin, _API_ATTRIBUTE, API_VERSION)
    if api != API_VERSION:
        problems.append(f"it is written for plugin API {api!r}, this sgforge has API {API_VERSION}: update either")
    has_hooks = False
    for name in sorted(set(dir(plugin)) - {_API_ATTRIBUTE}):
        value = getattr(plugin, name, None)
        if not inspect.isroutine(value):
            continue
        mark = getattr(value, _IMPL_MARK, None)
        if mark is not None:
            has_hooks = True
            problems.extend(_faults_of_hook(name, value, mark))
        elif name.startswith(_PREFIX):
            problems.append(f"function {name} looks like a hook but has no @{PROJECT}.hookimpl: decorate or rename")
    if not has_hooks and not problems:
        problems.append(f"it has no hook: no function of it is decorated with @{PROJECT}.hookimpl")
    return problems


def _faults_of_hook(name: str, function: Callable[..., Any], mark: Mapping[str, Any]) -> Iterator[str]:
    parameters = _HOOKS.get(name)
    if parameters is None:
        if not mark["optionalhook"]:
            yield f"there is no hook {name}; {choices(name, _HOOKS)}"
    elif mark["wrapper"] or mark["hookwrapper"]:
        yield f"hook {name} is a wrapper: wrappers are not supported"
    elif inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        yield f"hook {name} is async or has a yield, so that calling it does nothing: write a plain def"
    else:
        given = [each.name for each in inspect.signature(function).parameters.values() if each.default is each.empty]
        needed = set(parameters) if name.startswith(_REGISTER) else set()
        if not needed <= set(given) <= set(parameters):
            yield f"hook {name} takes ({', '.join(parameters)}), not ({', '.join(given)}): rename its parameters"


def collect_components(manager: pluggy.PluginManager, plugin: object, owner: Owner, into: list[Component]) -> None:
    """Call the registration hooks of one registered plugin; `into` has what came before a hook that raises."""
    for caller in sorted(manager.get_hookcallers(plugin) or (), key=lambda caller: caller.name):
        if not caller.name.startswith(_REGISTER):
            continue
        kind = _KIND_OF_HOOK[caller.name]
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin:
                register = _collector(kind, owner, into.append)
                implementation.function(*(register for _ in implementation.argnames))


def _collector(kind: Kind, owner: Owner, accept: Callable[[Component], None]) -> Register:
    """The `register` argument that a hook is called with."""

    def register(
        name: str,
        target: str | type[Any],
        *,
        config: type[Any] | None = None,
        needs: Needs = Needs(),
        revision: int = 1,
        offers: tuple[str, ...] = (),
        identity: str | None = None,
        columns: Iterable[Column] = (),
    ) -> None:
        component = Component(
            kind=kind.name,
            name=name,
            target=target,
            config=config,
            needs=needs,
            revision=revision,
            owner=owner,
            offers=offers,
            moved_from=identity,
            columns=tuple(columns),
        )
        fault = _find_fault(component)
        if fault is not None:
            raise PluginError(f"{kind.name} {name!r}: {fault}")
        accept(component)

    register.__qualname__ = "register"  # what an error about a wrong argument calls it
    return register


def _find_fault(component: Component) -> str | None:
    """Why a registration cannot be taken, None if it can."""
    # The annotations are promises of the plugin's author, so every one of them is looked at.
    values: Mapping[str, Any] = attrs.asdict(component, recurse=False)
    name, target = values["name"], values["target"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"a name is lower-case letters, digits, '.', '_' and '-', not {name!r}"
    if isinstance(target, str):
        lazy_module = KINDS[component.kind].may_be_module and _MODULE.fullmatch(target)
        if not (_TARGET.fullmatch(target) or lazy_module):
            return f"target {target!r} must be a class or text like 'package.module:Class'"
    elif not isinstance(target, type):
        return f"target {target!r} must be a class or text like 'package.module:Class'"
    moved_from = values["moved_from"]
    if moved_from is not None and not (isinstance(moved_from, str) and _TARGET.fullmatch(moved_from)):
        return f"identity {moved_from!r} must be text like 'package.module:Class', where the target was before"
    if not isinstance(values["needs"], Needs):
        return f"needs must be a Needs(...), not {values['needs']!r}"
    revision = values["revision"]
    if not isinstance(revision, int) or isinstance(revision, bool) or revision < 1:
        return f"revision must be a whole number from 1 up, not {revision!r}"
    offers, known = values["offers"], KINDS[component.kind].may_offer
    if not isinstance(offers, tuple) or not set(offers) <= set(known):
        return f"offers {offers!r} must be a tuple of what {with_article(component.kind)} may offer: {known}"
    return (
        _find_config_fault(component.kind, values["config"])
        or _find_undeclared(component)
        or _find_shown_fault(component)
        or _find_column_fault(component)
    )


def _find_shown_fault(component: Component) -> str | None:
    """What no student may be shown in an evaluation: what was answered, what was chosen, and columns of plugins."""
    wrong = sorted(set(component.needs.shows) - SHOWABLE)
    if wrong:
        return f"needs show {wrong[0]!r}; an evaluator may show the student {', '.join(sorted(SHOWABLE))}"
    return None


def _find_column_fault(component: Component) -> str | None:
    """A declaration that is none, or of a column that is not named after the plugin."""
    given: tuple[Any, ...] = component.columns
    # A module that is given itself, as a test does, goes by its own name: that of its entry point with our prefix.
    space = component.owner.plugin.removeprefix("sgforge_")
    for column in given:
        if not isinstance(column, Column):
            return f"columns must be Column(target, name, kind, shape) each, not {column!r}"
        if not column.name.startswith(f"{space}."):
            return f"{column} must be named after its plugin: {space}.{column.name.rpartition('.')[2]}"
        if column.kind == FILE:
            return f"{column}: kind 'file' is no type; give the type and shape of what the files hold"
    return None


def _find_undeclared(component: Component) -> str | None:
    """An option that the needs name and the options class does not have."""
    fields = () if component.config is None else tuple(field.name for field in attrs.fields(component.config))
    for key in _READ_BY_NAME:
        option = component.needs.option(key)
        if option is not None and option not in fields:
            return f"its needs say that option {option!r} names its {key}, and it has no such option"
    for option in component.needs.answering:
        if option not in fields:
            return f"its needs say that it answers by option {option!r}, and it has no such option"
    return None


def _find_config_fault(kind: str, config: Any) -> str | None:
    if config is None:
        return None
    if not isinstance(config, type) or not attrs.has(config):
        return f"config {config!r} must be an attrs class (@attrs.frozen)"
    fields = attrs.fields(config)
    untyped = [field.name for field in fields if field.type is None]
    if untyped:
        return f"option {untyped[0]!r} of {config.__name__} has no type: options are checked by their types"
    try:
        attrs.resolve_types(config)
    except Exception as error:  # a name that is not there, or an annotation that cannot be evaluated
        return f"the types of {config.__name__} cannot be read ({error}): import what they name at run time too"
    for fault in (_find_part_fault(KINDS[kind], field) for field in attrs.fields(config)):
        if fault is not None:
            return f"option {fault} (in {config.__name__})"
    taken = sorted(field.alias for field in fields if field.alias in _reserved_keys(kind) - _free_for_parts(field))
    if taken:
        return f"option {taken[0]!r} of {config.__name__} is a reserved key of {with_article(kind)}: rename it"
    return None


def _find_part_fault(kind: Kind, field: attrs.Attribute[Any]) -> str | None:
    """What is wrong with an option that holds components."""
    held = kind_of_part(field)
    if held is None:
        return f"{field.name!r} holds a component: declare it with part() or parts()" if _holds(field.type) else None
    if held not in KINDS or not KINDS[held].in_steps:
        known = [name for name, entry in KINDS.items() if entry.in_steps]
        return f"{field.name!r} cannot hold a component of kind {held!r}; {choices(held, known)}"
    if not kind.in_steps:
        return f"{field.name!r} holds a component, which the options of {with_article(kind.name)} cannot"
    if field.type in (Use, Use | None, tuple[Use, ...]):
        return None
    return f"{field.name!r} holds components, so its type is Use, Use | None or tuple[Use, ...], not {field.type}"


def _holds(kind: Any, seen: tuple[Any, ...] = ()) -> bool:
    """Whether a type, or one within it, is `Use`."""
    if kind is Use:
        return True
    if attrs.has(kind) and kind not in seen:
        fields = attrs.fields(attrs.resolve_types(kind))
        return any(_holds(field.type, (*seen, kind)) for field in fields)
    return any(_holds(member, seen) for member in get_args(kind))


def _free_for_parts(field: attrs.Attribute[Any]) -> frozenset[str]:
    """Names of verbs that an option may have all the same: one that holds components, which no stage is named by."""
    return frozenset(VERBS) if kind_of_part(field) is not None else frozenset()


def _reserved_keys(kind: str) -> frozenset[str]:
    entry = KINDS[kind]
    keys = (*RESERVED_STEP_KEYS, *VERBS) if entry.verbs else entry.reserved
    return frozenset((*keys, *PART_KEYS) if entry.in_steps else keys)
