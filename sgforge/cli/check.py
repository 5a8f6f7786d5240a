"""`sgforge check CONFIG`: can it run here, and what would it do? No image is read, nothing written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sgforge.cli.requests import add_config_arguments, build_request
from sgforge.text.safe_text import visible

if TYPE_CHECKING:
    from sgforge.engine.launch import Request
    from sgforge.engine.planning.components import ComponentSpec
    from sgforge.engine.planning.plan import Plan, PlannedStep

_EXAMPLES = """\
examples:
  sgforge check pipeline.toml
  sgforge check pipeline.toml --set step.complete.model=anthropic/claude-sonnet-5-5
  sgforge check pipeline.toml --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_config_arguments(parser, _EXAMPLES)


def run(args: argparse.Namespace) -> int:
    """Print what a run would do, in order; every fault found is in the one error."""
    from sgforge.plugins import load_plugins

    request = build_request(args)
    plan = request.resolve(load_plugins())
    if args.json:
        print(json.dumps(_as_json(request, plan), indent=2))
    else:
        print(f"{args.config} is in order")
        print("\n".join(_lines(request, plan)))
    return 0


def _lines(request: Request, plan: Plan) -> Iterator[str]:
    yield f"dataset  {request.dataset} (branch {request.branch})"
    for name, spec in plan.sources.items():
        copies = f", {plan.copies[name]} copies of each image" if name in plan.copies else ""
        yield f"source   {name}: {spec.name}{_render(spec)}{copies}"
    width = max((len(step.name) for step in plan.steps), default=0)
    for number, step in enumerate(plan.steps, start=1):
        text = f"{step.spec.name}{_render(step.spec)}{_on(step)}"
        if step.weights is not None:
            text += f", weights of {step.weights!r}"
        elif step.checkpoint is not None:
            text += f", weights in {step.checkpoint}"
        yield f"{number:>4}. {step.name:<{width}}  {text}"
        yield from (f"{'':<{width + 8}}{line}" for line in _part_lines(step.spec))
    for note in plan.notes:
        yield f"note: {note}"
    for name in request.roots.names():
        folder = request.roots.resolve(f"{name}:")
        if not folder.is_dir():
            yield f"note: root {name!r}: there is no folder {folder}"


def _render(spec: ComponentSpec) -> str:
    """The options as given, without secrets."""
    typed = spec.saved_options()
    own = [name for name in spec.settings if name not in spec.parts]
    given = [f"{name} = {visible(json.dumps(typed[name], ensure_ascii=False))}" for name in own]
    return f" ({', '.join(given)})" if given else ""


def _part_lines(spec: ComponentSpec) -> Iterator[str]:
    """The components in its options, a line each, also those that stand there by default."""
    for option, held in spec.parts.items():
        for part in held:
            name = part.spec.name if part.name == part.spec.name else f"{part.spec.name} as {visible(part.name)}"
            yield f"{option}: {name}{_render(part.spec)}, weight {part.weight:g}"
            yield from (f"  {line}" for line in _part_lines(part.spec))


def _on(step: PlannedStep) -> str:
    named = (("source", step.on.sources), ("split", step.on.splits))
    parts = [f"{key} {' and '.join(values)}" for key, values in named if values is not None]
    return f", on {', '.join(parts)}" if parts else ""


def _source_as_json(plan: Plan, name: str) -> dict[str, Any]:
    spec = plan.sources[name]
    copies = {"copies": plan.copies[name]} if name in plan.copies else {}
    return {"use": spec.name, **spec.saved_options(), **copies}


def _as_json(request: Request, plan: Plan) -> dict[str, Any]:
    return {
        "dataset": str(request.dataset),
        "branch": request.branch,
        "sources": {name: _source_as_json(plan, name) for name in plan.sources},
        "steps": [
            {
                "name": step.name,
                "verb": step.verb.name,
                "component": step.spec.name,
                "owner": str(step.spec.component.owner) if step.spec.component is not None else None,
                "options": step.spec.saved_options(),
                "on": {"source": step.on.sources, "split": step.on.splits},
                "weights": step.weights,
            }
            for step in plan.steps
        ],
        "notes": list(plan.notes),
    }
