"""`sgforge check CONFIG`: can it run here, and what would it do? Nothing is read but the config, nothing written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sgforge.config import PipelineConfig, dump_options, load_config

if TYPE_CHECKING:
    from sgforge.engine.plan import Plan, PlannedStep

_EXAMPLES = """\
examples:
  sgforge check pipeline.toml
  sgforge check pipeline.toml --set step.complete.model=anthropic/claude-sonnet-4-5
  sgforge check pipeline.toml --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("config", metavar="CONFIG", help="a pipeline in TOML")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="replace a value of the config",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print what a run would do, in order; every fault found is in the one error."""
    from sgforge.engine.plan import resolve
    from sgforge.engine.steps import SourceStep
    from sgforge.pipeline import Pipeline
    from sgforge.plugins import load_plugins

    config = load_config(args.config, args.overrides)
    sources = {name: SourceStep(source.use, source.options) for name, source in config.sources.items()}
    plan = resolve(load_plugins(), Pipeline.from_config(config).steps, sources, config.models)
    if args.json:
        print(json.dumps(_as_json(config, plan), indent=2, ensure_ascii=False))
    else:
        print(f"{args.config} is in order")
        print("\n".join(_lines(config, plan)))
    return 0


def _lines(config: PipelineConfig, plan: Plan) -> Iterator[str]:
    yield f"dataset  {config.dataset} (branch {config.branch})"
    for name, source in config.sources.items():
        yield f"source   {name}: {source.use}{_render(source.options)}"
    width = max(len(step.name) for step in plan.steps)
    for number, step in enumerate(plan.steps, start=1):
        text = f"{step.spec.name}{_render(step.spec.settings)}{_on(step)}"
        if step.weights is not None:
            text += f", weights of {step.weights!r}"
        elif step.checkpoint is not None:
            text += f", weights in {step.checkpoint}"
        yield f"{number:>4}. {step.name:<{width}}  {text}"
    for note in plan.notes:
        yield f"note: {note}"


def _render(options: Mapping[str, Any]) -> str:
    if not options:
        return ""
    return f" ({', '.join(f'{name} = {json.dumps(value, ensure_ascii=False)}' for name, value in options.items())})"


def _on(step: PlannedStep) -> str:
    named = (("source", step.on.sources), ("split", step.on.splits))
    parts = [f"{key} {' and '.join(values)}" for key, values in named if values is not None]
    return f", on {', '.join(parts)}" if parts else ""


def _as_json(config: PipelineConfig, plan: Plan) -> dict[str, Any]:
    return {
        "dataset": str(config.dataset),
        "branch": config.branch,
        "sources": {name: {"use": source.use, **source.options} for name, source in config.sources.items()},
        "steps": [
            {
                "name": step.name,
                "verb": step.verb.name,
                "component": step.spec.name,
                "owner": str(step.spec.component.owner) if step.spec.component is not None else None,
                "options": dump_options(step.spec.options),
                "on": {"source": step.on.sources, "split": step.on.splits},
                "weights": step.weights,
            }
            for step in plan.steps
        ],
        "notes": list(plan.notes),
    }
