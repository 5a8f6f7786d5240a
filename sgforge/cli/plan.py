"""`sgforge plan CONFIG`: what a run would compute, reuse and call; sources are read, nothing is made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from sgforge.cli.requests import add_config_arguments, add_retry, build_request
from sgforge.cli.spent import ledger_of
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.engine.forecast.forecast import Forecast, StepForecast
    from sgforge.models.estimate import Estimate, Interval

_EXAMPLES = """\
examples:
  sgforge plan pipeline.toml
  sgforge plan pipeline.toml --limit 100 --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_config_arguments(parser, _EXAMPLES)
    add_retry(parser)


def run(args: argparse.Namespace) -> int:
    """Print the forecast."""
    from sgforge.engine.forecast.costs import estimate_costs
    from sgforge.engine.forecast.forecast import forecast
    from sgforge.engine.planning.anew import told_anew
    from sgforge.engine.sources.reading import unused_root
    from sgforge.plugins import load_plugins

    request = build_request(args)
    registry = load_plugins()
    plan = request.resolve(registry)
    retries = request.gateway.retry_failed
    found = forecast(plan, request.dataset, request.roots, request.limit, asks_again=retries)
    unused = () if request.limit is not None else tuple(unused_root(name) for name in request.roots.unused())
    costs = estimate_costs(request, plan, registry, found)
    ledger = {row.model: row for row in ledger_of(request.responses or request.dataset / "responses.sqlite")}
    anew = told_anew(found.anew, lambda model: ledger[model].usd if model in ledger else None)
    notes = (*plan.notes, *unused, *anew)
    if args.json:
        print(json.dumps(_as_json(found, costs, notes)))
    else:
        print("\n".join([*_lines(found, costs), *(f"note: {note}" for note in notes)]))
    return 0


def _lines(found: Forecast, costs: Mapping[str, Estimate]) -> Iterator[str]:
    unreadable = f", {found.unreadable} cannot be read" if found.unreadable else ""
    yield f"{counted(found.images, 'image')}{unreadable}"
    width = max((len(step.step.name) for step in found.steps), default=4)
    for step in found.steps:
        asks = f", asks {step.step.spec.model}" if step.step.spec.model is not None else ""
        yield f"{step.step.name:<{width}}  {step.step.spec.name}: {_told(step)}{asks}"
        cost = costs.get(step.step.name)
        if cost is not None:
            yield from (f"{'':<{width}}  {line}" for line in _cost_lines(cost))
    prices = [cost.cost_usd for cost in costs.values()]
    if prices and all(price is not None for price in prices):
        yield f"all together ${sum(price.mean for price in prices if price is not None):.2f}"


def _cost_lines(cost: Estimate) -> Iterator[str]:
    """From a sample: mean and 95 % interval."""
    yield f"calls {_between(cost.calls, '.0f')}, {cost.cached_share:.0%} of the sample answered by the cache"
    tokens = f"{_between(cost.input_tokens, '.0f')} in, {_between(cost.output_tokens, '.0f')} out"
    yield f"tokens {tokens}{' (output at its limit)' if cost.is_bound else ''}"
    price = "of unknown price" if cost.cost_usd is None else f"${_between(cost.cost_usd, '.2f')}"
    others = ((cost.cached_usd, "with prompts cached"), (cost.batch_usd, "in a batch"))
    price += "".join(f", ${other.mean:.2f} {meaning}" for other, meaning in others if other is not None)
    yield f"cost {price}, {_between(cost.seconds, '.0f')} s, from {counted(cost.sampled, 'sampled image')}"
    if cost.failed:
        yield f"{cost.failed} of the sampled images ended in an error"


def _between(interval: Interval, form: str) -> str:
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def _told(step: StepForecast) -> str:
    if step.after is not None:
        return f"known when {step.after!r} has run"
    return f"{step.to_compute} to compute, {step.reused} known"


def _as_json(found: Forecast, costs: Mapping[str, Estimate], notes: tuple[str, ...]) -> dict[str, Any]:
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
                "estimate": attrs.asdict(costs[step.step.name]) if step.step.name in costs else None,
            }
            for step in found.steps
        },
        "notes": list(notes),
    }
