"""`sgforge plugins [NAME]`: what is installed and whether it works; a component's options and needs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any

from sgforge.errors import ConfigError
from sgforge.plugins import Component, PluginReport, Registry, load_plugins, unmet_needs
from sgforge.plugins.describe import describe_needs, describe_options, docstring_of
from sgforge.text.did_you_mean import choices

_EXAMPLES = """\
examples:
  sgforge plugins                    every plugin with its components; broken ones say why
  sgforge plugins spatial-rules      the options of a component, and what it needs
  sgforge plugins baseline --json    a plugin, for machines
  SGFORGE_PLUGINS=baseline,formats sgforge plugins     load only these"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("name", nargs="?", metavar="NAME", help="a plugin or a component")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the plugins, or the one plugin or component named."""
    registry = load_plugins()
    if args.name is None:
        reports, components = list(registry.reports), []
    else:
        reports = [report for report in registry.reports if _concerns(report, args.name)]
        components = [component for component in registry.components() if component.name == args.name]
        if not reports and not components:
            raise ConfigError(_explain_unknown(args.name, registry))
    if args.json:
        found = {
            "plugins": [_report_json(report) for report in reports],
            "components": [_component_json(component) for component in components],
            "skipped": list(registry.skipped),
        }
        print(json.dumps(found, indent=2))
        return 0
    texts = ["\n".join(_report_lines(report)) for report in reports]
    texts += ["\n".join(_component_lines(component)) for component in components]
    if args.name is None and registry.skipped:
        texts.append(f"left out by SGFORGE_PLUGINS: {', '.join(registry.skipped)}")
    print("\n\n".join(texts) if texts else "no plugins are installed")
    return 0


def _concerns(report: PluginReport, name: str) -> bool:
    """Whether a report tells of this plugin, or of why the component of this name cannot be used."""
    is_lost = not report.ok and any(component.name == name for component in report.components)
    return report.owner.plugin == name or is_lost


def _explain_unknown(name: str, registry: Registry) -> str:
    message = f"there is no plugin or component {name!r}; {choices(name, _names(registry))}"
    broken = [str(report.owner) for report in registry.reports if report.error is not None]
    return f"{message}; broken, and may have it: {', '.join(broken)}" if broken else message


def _names(registry: Registry) -> Iterable[str]:
    yield from (report.owner.plugin for report in registry.reports)
    yield from (component.name for component in registry.components())


def _report_lines(report: PluginReport) -> Iterable[str]:
    yield f"{report.owner}: {'ok' if report.ok else 'BROKEN' if report.error else 'name clash'}"
    for problem in report.problems:
        yield f"  {problem}"
    if report.error is not None:
        return
    by_kind: dict[str, list[str]] = {}
    for component in report.components:
        by_kind.setdefault(component.kind, []).append(component.name)
    for kind, names in by_kind.items():
        yield f"  {kind:<10} {', '.join(names)}"
    if report.ok and not report.components:
        yield "  registers nothing, listens to events"


def _component_lines(component: Component) -> Iterable[str]:
    yield f"{component.kind} {component.name} (revision {component.revision}) of {component.owner}"
    if component.config is not None:
        yield from (f"  {line}".rstrip() for line in docstring_of(component.config).splitlines())
    options = describe_options(component.config)
    if options:
        yield "  options:"
        width = max(len(option.name) for option in options)
        for option in options:
            default = "required" if option.default is None else f"default {option.default}"
            yield f"    {option.name:<{width}}  {option.type}, {default}"
    else:
        yield "  it takes no options"
    for need in describe_needs(component):
        yield f"  needs: {need}"
    for unmet in unmet_needs(component):
        yield f"  not met here: {unmet}"


def _report_json(report: PluginReport) -> dict[str, Any]:
    return {
        "plugin": report.owner.plugin,
        "distribution": report.owner.distribution,
        "version": report.owner.version,
        "entry_point": report.entry_point,
        "ok": report.ok,
        "problems": list(report.problems),
        "components": [{"kind": component.kind, "name": component.name} for component in report.components],
    }


def _component_json(component: Component) -> dict[str, Any]:
    return {
        "kind": component.kind,
        "name": component.name,
        "plugin": component.owner.plugin,
        "distribution": component.owner.distribution,
        "version": component.owner.version,
        "target": component.path,
        "revision": component.revision,
        "options": [
            {"name": option.name, "type": option.type, "default": option.default}
            for option in describe_options(component.config)
        ],
        "needs": list(describe_needs(component)),
        "unmet": list(unmet_needs(component)),
    }
