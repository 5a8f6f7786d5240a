"""Writes docs/reference.md from the code: commands, hooks, every component's options, settings. --check compares only.

python docs/make_reference.py [--check]
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sgforge import hookspecs
from sgforge.cli.main import COMMANDS
from sgforge.models.settings import GatewaySettings, ModelSettings
from sgforge.plugins import Component, discover
from sgforge.plugins.describe import describe_needs, describe_options, docstring_of
from sgforge.stages import KINDS, Needs

REFERENCE = Path(__file__).with_name("reference.md")
FIRST_PARTY = "sgforge"
HEAD = """\
# Reference

Written by `docs/make_reference.py` from the code: change the code, then run `make reference`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if docs/reference.md is not current")
    args = parser.parse_args()
    text = "\n".join((HEAD, *commands(), *hooks(), *components(), *settings()))
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


def components() -> Iterator[str]:
    """Every component of the plugins that come with sgforge, by kind."""
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
