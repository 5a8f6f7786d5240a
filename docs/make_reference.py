"""Writes docs/reference.md from the code: commands, hooks, events, methods, options, settings, environment variables.

python docs/make_reference.py [--check]        --check compares only
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import attrs
from environment_variables import environment_variables

from sgforge import hookspecs
from sgforge.cli.main import COMMANDS
from sgforge.engine.executors.crew import Executor
from sgforge.engine.reporting import events as event_values
from sgforge.engine.reporting.report import StepCounts
from sgforge.models.provider import BatchProvider, Provider
from sgforge.models.settings import GatewaySettings, ModelSettings
from sgforge.plugins import Component, discover
from sgforge.plugins.describe import describe_needs, describe_options, docstring_of
from sgforge.stages import (
    KINDS,
    Checkpoint,
    Credit,
    Failure,
    GivesPolicy,
    Judged,
    Needs,
    Outcome,
    Part,
    Policy,
    Ranking,
    Report,
    Resources,
    Reward,
    Rollout,
    SourceFailure,
    Use,
    Worker,
    protocols,
)
from sgforge.stages.verbs import Kind
from sgforge.steps import RunSettings

REFERENCE = Path(__file__).with_name("reference.md")
FIRST_PARTY = "sgforge"
ROOT: Final = Path(__file__).parents[1]
PROTOCOLS: Final = {
    "model": (Provider, BatchProvider),
    "executor": (Executor,),
    "reward": (Reward,),
    "command": (),
    "student": (protocols.Student, GivesPolicy, Policy),
}
"""Of kinds whose protocol is not the class of `sgforge.stages.protocols` that has their name."""
EVENTS: Final = tuple(getattr(event_values, name) for name in event_values.__all__)
VALUES: Final = (
    Resources,
    Worker,
    Part,
    Use,
    Outcome,
    Credit,
    RunSettings,
    Failure,
    SourceFailure,
    Checkpoint,
    Judged,
    Ranking,
    Report,
    StepCounts,
    Rollout,
    Outcome,
)
HEAD = """\
# Reference

Written by `docs/make_reference.py` from the code: change the code, then run `make reference`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if docs/reference.md is not current")
    args = parser.parse_args()
    parts = (commands(), hooks(), events(), methods(), components(), values(), settings(), environment())
    text = "\n".join((HEAD, *(line for part in parts for line in part)))
    if not args.check:
        REFERENCE.write_text(text, encoding="utf-8")
    elif not REFERENCE.exists() or REFERENCE.read_text(encoding="utf-8") != text:
        sys.exit("docs/reference.md is not current: run make reference")


def commands() -> Iterator[str]:
    """The table of commands."""
    yield "## Commands\n"
    yield "| command | what it does |\n|---|---|"
    for name, entry in COMMANDS.items():
        yield f"| `sgforge {name}` | {entry.help} |"
    yield "\n`sgforge COMMAND --help` shows its arguments and examples."
    yield "Exit codes: 0 done, 1 failed, 2 usage or config, 3 budget reached, 4 finished with failed items.\n"


def hooks() -> Iterator[str]:
    """Every hook with its signature."""
    yield "## Hooks\n"
    yield f"Plugin API {hookspecs.API_VERSION}. A plugin is a module behind an entry point of the group `sgforge`; its"
    yield "hooks are functions decorated with `@sgforge.hookimpl`. An implementation may take fewer arguments.\n"
    for name, hook in vars(hookspecs).items():
        if hasattr(hook, "sgforge_spec"):
            yield f"- `{name}({', '.join(inspect.signature(hook).parameters)})`: {inspect.getdoc(hook)}"
    yield f"\n### register\n\n{inspect.getdoc(hookspecs.Register)}\n"
    yield f"```python\nregister({_parameters(hookspecs.Register.__call__)})\n```\n"
    yield f"### Needs\n\n{docstring_of(Needs)}\n"


def events() -> Iterator[str]:
    """What event hooks are called with."""
    yield f"## Events\n\n{_plain(event_values.__doc__)}\n"
    yield from _attributes(EVENTS)


def methods() -> Iterator[str]:
    """What the components of each kind implement."""
    yield f"## Methods of components\n\n{_plain(protocols.__doc__)}\n"
    for kind in KINDS.values():
        for protocol in _protocols(kind):
            yield f"### {protocol.__name__}\n\n{docstring_of(protocol)}\n"
            for name, method in vars(protocol).items():
                if inspect.isfunction(method) and not name.startswith("_"):
                    yield f"```python\n{_signature(method)}\n```\n\n{inspect.getdoc(method)}\n"


def _protocols(kind: Kind) -> tuple[type[Any], ...]:
    return PROTOCOLS.get(kind.name) or () if kind.name in PROTOCOLS else (getattr(protocols, kind.name.capitalize()),)


def values() -> Iterator[str]:
    """What components are given, and what they answer with."""
    yield "## Values that components get and give\n"
    yield from _attributes(VALUES)


def components() -> Iterator[str]:
    """Every component of the plugins that come with sgforge, by kind."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["sgforge"]
    installed = {point.name for point in distribution(FIRST_PARTY).entry_points if point.group == FIRST_PARTY}
    if installed != set(declared):
        # Else a plugin that came after the last installation would be missing here, and nobody would see it.
        sys.exit(
            f"plugins {', '.join(sorted(installed ^ set(declared)))}: pip install -e . was not run since they came"
        )
    registry = discover()
    broken = [f"{report.owner}: {'; '.join(report.problems)}" for report in registry.reports if not report.ok]
    if broken or registry.skipped:
        sys.exit(f"not every plugin is loaded: {' | '.join((*broken, *registry.skipped))}")
    found = [component for component in registry.components() if component.owner.distribution == FIRST_PARTY]
    for kind in KINDS.values():
        of_kind = [component for component in found if component.kind == kind.name]
        if of_kind:
            steps = " and ".join(f"`{verb.name}`" for verb in kind.verbs)
            yield f"## {kind.plural.capitalize()}\n" + (f"\nNamed by the steps {steps}.\n" if steps else "")
            for component in of_kind:
                yield from describe(component)


def describe(component: Component) -> Iterator[str]:
    """One component: what its options mean, their types and defaults, what it needs."""
    yield f"### {component.name}\n"
    yield f"Plugin `{component.owner.plugin}`, revision {component.revision}."
    needs = describe_needs(component)
    if needs:
        yield f"Needs: {'; '.join(needs)}."
    yield ""
    yield from _options(component.config)


def settings() -> Iterator[str]:
    """The tables of a config that belong to no component."""
    tables = (
        ('Settings of a model: `[models."provider/model"]`', ModelSettings),
        ("Settings of all models: `[gateway]`", GatewaySettings),
    )
    for title, cls in tables:
        yield f"## {title}\n"
        yield from _options(cls)


def environment() -> Iterator[str]:
    """The environment variables that the core and the plugins that come with it read."""
    found = environment_variables(ROOT / "sgforge", *sorted((ROOT / "plugins").glob("sgforge_*")))
    yield "## Environment variables\n\n| variable | read by | what it is |\n|---|---|---|"
    for variable in found:
        yield f"| `{variable.name}` | {', '.join(f'`{reader}`' for reader in variable.readers)} | {variable.text} |"
    yield "\nThe setting `api_key_env` of a model names another variable for its key.\n"


def _attributes(classes: Iterable[type[Any]]) -> Iterator[str]:
    """Classes of values with a table of their attributes."""
    for cls in classes:
        yield f"### {cls.__name__}\n\n{docstring_of(cls)}\n\n| attribute | type | default |\n|---|---|---|"
        for field in attrs.fields(cls):
            kind = str(field.type).replace("|", "\\|")
            factory = getattr(field.default, "factory", None)
            default = field.default if factory is None else factory()
            yield f"| `{field.name}` | `{kind}` | {'required' if default is attrs.NOTHING else f'`{default!r}`'} |"
        yield ""


def _plain(docstring: str | None) -> str:
    return inspect.cleandoc(docstring or "")


def _signature(method: Callable[..., Any]) -> str:
    """A method as it is written, without `self`."""
    signature = inspect.signature(method)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "self"]
    text = str(signature.replace(parameters=kept)).replace("'", "")
    return f"{'async ' if inspect.iscoroutinefunction(method) else ''}def {method.__name__}{text}"


def _options(config: type[Any] | None) -> Iterator[str]:
    options = describe_options(config)
    if config is not None and (text := docstring_of(config)):
        yield f"{text}\n"
    if not options:
        yield "It takes no options.\n"
        return
    yield "| option | type | default |\n|---|---|---|"
    for option in options:
        default = "required" if option.default is None else f"`{option.default}`"
        yield f"| `{option.name}` | {option.type} | {default} |".replace("<", "\\<")
    yield ""


def _parameters(function: Callable[..., None]) -> str:
    """The parameters of a method as they are written, one a line."""
    lines = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and "    *," not in lines:
            lines.append("    *,")
        default = "Needs()" if parameter.default == Needs() else repr(parameter.default)
        text = f"    {name}: {parameter.annotation}"
        if name != "self":
            lines.append(f"{text}," if parameter.default is parameter.empty else f"{text} = {default},")
    return "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
