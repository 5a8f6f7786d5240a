"""What the models of a forecast will cost: components are run on sampled images against a gateway that buys nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sgforge.dataset.states.known_states import connect_to_read
from sgforge.engine.executors.door import Door
from sgforge.engine.executors.work import Work
from sgforge.engine.forecast.forecast import Forecast, StepForecast
from sgforge.engine.launch import Request
from sgforge.engine.models.run_models import Models, open_models
from sgforge.engine.planning.part_resources import with_parts
from sgforge.engine.planning.plan import Plan
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.plugins import Registry
from sgforge.sqlite_files import has_tables
from sgforge.stages import Failure, Resources

if TYPE_CHECKING:
    from sgforge.models.estimate import Estimate

__all__ = ["estimate_costs"]


def estimate_costs(request: Request, plan: Plan, registry: Registry, found: Forecast) -> Mapping[str, Estimate]:
    """Calls, tokens, cost and time by the name of each step that asks a model; nothing is sent, nothing is kept."""
    asking = [step for step in found.steps if found.samples.get(step.step.name)]
    return asyncio.run(_estimate(request, plan, registry, found, asking)) if asking else {}


async def _estimate(
    request: Request, plan: Plan, registry: Registry, found: Forecast, asking: Sequence[StepForecast]
) -> dict[str, Estimate]:
    from sgforge.models.cache.store import ReadStore
    from sgforge.models.estimate import DryRun

    responses = request.responses or request.dataset / "responses.sqlite"
    with tempfile.TemporaryDirectory(prefix="sgforge-") as scratch:
        async with open_models(
            plan.model_names(),
            plan.models,
            registry=registry,
            # What is looked at stays as it is, also while a run writes to it.
            responses=ReadStore(responses, connect_to_read)
            if has_tables(responses)
            else Path(scratch) / responses.name,
            settings=request.gateway,
            watcher=DryRun(),
        ) as models:
            return {step.step.name: await _one(step, found.samples[step.step.name], models) for step in asking}


async def _one(step: StepForecast, samples: Sequence[Sample], models: Models) -> Estimate:
    from sgforge.models.errors import DEFERRED, DeferredError
    from sgforge.models.estimate import estimate, observe

    spec, method = step.step.spec, step.step.verb.method
    resources = with_parts(spec, Resources(model=models.bind(spec.model)), models.bind)
    crew = await Door().open(Work(spec=spec, method=method, resources=resources))

    async def one(sample: Sample) -> None:
        (outcome,) = await crew.lanes[0].answer([sample])
        if isinstance(outcome.answer, Failure):
            kind = DeferredError if outcome.answer.reason == DEFERRED else StepError
            raise kind(outcome.answer.detail)

    in_flight = min(model.max_in_flight for model in resources.models)
    in_flight = min(in_flight, step.step.workers or in_flight)
    try:
        return estimate(await observe(one, samples), step.to_compute or 0, in_flight)
    finally:
        await crew.close()
