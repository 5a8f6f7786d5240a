"""`sgforge plan CONFIG`: what a run would compute, reuse and call; sources are read, nothing is made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sgforge.cli.run import add_run_arguments, build_request

if TYPE_CHECKING:
    from sgforge.engine.forecast import Forecast, StepForecast

_EXAMPLES = """\
examples:
  sgforge plan pipeline.toml
  sgforge plan pipeline.toml --limit 100 --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    add_run_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the forecast."""
    from sgforge.engine.forecast import forecast
    from sgforge.plugins import load_plugins

    request = build_request(args)
    plan = request.resolve(load_plugins())
    found = forecast(plan, request.dataset, request.roots, request.limit)
    if args.json:
        print(json.dumps(_as_json(found, plan.notes), ensure_ascii=False))
    else:
        print("\n".join([*_lines(found), *(f"note: {note}" for note in plan.notes)]))
    return 0


def _lines(found: Forecast) -> Iterator[str]:
    unreadable = f", {found.unreadable} cannot be read" if found.unreadable else ""
    yield f"{found.images} images{unreadable}"
    width = max((len(step.step.name) for step in found.steps), default=4)
    for step in found.steps:
        asks = f", asks {step.step.spec.model}" if step.step.spec.model is not None else ""
        yield f"{step.step.name:<{width}}  {step.step.spec.name}: {_told(step)}{asks}"


def _told(step: StepForecast) -> str:
    if step.after is not None:
        return f"known when {step.after!r} has run"
    return f"{step.to_compute} to compute, {step.reused} known"


def _as_json(found: Forecast, notes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "images": found.images,
        "unreadable": found.unreadable,
        "steps": {
            step.step.name: {
                "verb": step.step.verb.name,
                "component": step.step.spec.name,
                "model": step.step.spec.model,
                "compute": step.to_compute,
                "reuse": step.reused,
                "after": step.after,
            }
            for step in found.steps
        },
        "notes": list(notes),
    }
