"""What a run will ask of its models: calls, tokens, cost and time, told from a sample of the images with an interval.

    async with Gateway.open(path, settings, resolve_provider, watcher=DryRun()) as gateway:
        observed = await observe(component.complete, samples)       # nothing is sent
        print(estimate(observed, images=100_000, in_flight=64))

With `DryRun` as watcher nothing is bought: requests that the cache cannot answer count with the tokens they will have
(input counted from the text, output as the ledger's mean for that model, or the request's `max_tokens` where the
ledger has none). Without it the sample is really asked; its answers stay in the cache, so the run does not pay for
them again.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import attrs

from sgforge.models.errors import DeferredError
from sgforge.models.gateway import BoundModel, Gateway
from sgforge.models.money.call_trace import Observed, note_observed, observe_calls
from sgforge.models.money.prices import usd
from sgforge.models.values import ChatRequest, ImagePart, TextPart, Usage

__all__ = ["DryRun", "Estimate", "Interval", "ItemCalls", "estimate", "observe"]

_T = TypeVar("_T")
_CHARS_PER_TOKEN: Final = 4
_PIXELS_PER_TOKEN: Final = 750
"""Tokens of an image by its size (Anthropic's documentation of vision: width x height / 750)."""
_TYPICAL_S: Final = 5.0
_MIN_HISTORY: Final = 5
_T_975: Final = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, 97.5 %, by degrees of freedom from 1 to 10; above that the normal value with a first correction."""


@attrs.frozen
class Interval:
    """A total over all images: the expected value and its 95 % interval from the sample's spread."""

    mean: float
    low: float
    high: float

    def rounded(self, digits: int) -> tuple[float, float, float]:
        """(mean, low, high)."""
        return round(self.mean, digits), round(self.low, digits), round(self.high, digits)


@attrs.frozen
class Estimate:
    """For all images of one step. `calls` counts those to be bought; `cached_share`: of the sample's requests, held by
    the cache already. `cost_usd` is None if a price is not known. `is_bound`: output tokens were taken as
    `max_tokens`, so cost and tokens are upper bounds. `failed`: sampled images that ended in an error. `cached_usd`,
    `batch_usd`: the cost with prompts read from the vendor's cache where they begin as one before, and in a batch."""

    images: int
    sampled: int
    calls: Interval
    input_tokens: Interval
    output_tokens: Interval
    cost_usd: Interval | None
    seconds: Interval
    cached_share: float
    is_bound: bool
    failed: int
    cached_usd: Interval | None = None
    batch_usd: Interval | None = None


class DryRun:
    """A watcher that buys nothing: it notes what would be sent, and raises `DeferredError`."""

    def __init__(self) -> None:
        self._outputs: dict[str, float | None] = {}
        self._seconds: dict[str, float] = {}
        self._sent: set[tuple[str, str]] = set()

    async def miss(self, model: BoundModel, key: bytes, request: ChatRequest) -> None:
        """Count the call that would be made."""
        history = self._history(model)
        images = sum(part.size[0] * part.size[1] for part in request.images) // _PIXELS_PER_TOKEN
        usage = Usage(
            input=request.text_bytes // _CHARS_PER_TOKEN + images,
            output=request.max_tokens if history is None else round(history),
        )
        again = min(usage.input, self._sent_before(model.name, request))
        read = attrs.evolve(usage, input=usage.input - again, cache_read=again)
        batch = model.caller.cost(usage, batch=True) if model.capabilities.batch else None
        cost_usd = _usd(model.caller.cost(usage))
        note_observed(
            Observed(
                model=model.name,
                cached=False,
                usage=usage,
                cost_usd=cost_usd,
                seconds=self._seconds[model.name],
                is_bound=history is None,
                cached_usd=_usd(model.caller.cost(read)),
                batch_usd=_usd(batch),
            )
        )
        raise DeferredError(f"{model.name}: not asked, this only counts")

    def _sent_before(self, model: str, request: ChatRequest) -> int:
        """Tokens at the beginning of a request that an earlier one began with: instructions and pictures, in order."""
        tokens, goes_on = 0, True
        for part in (part for message in request.messages for part in message.parts):
            name = part.text if isinstance(part, TextPart) else part.sha256
            goes_on = goes_on and (model, name) in self._sent
            self._sent.add((model, name))
            if goes_on and isinstance(part, TextPart):
                tokens += len(part.text.encode()) // _CHARS_PER_TOKEN
            elif goes_on and isinstance(part, ImagePart):
                tokens += part.size[0] * part.size[1] // _PIXELS_PER_TOKEN
        return tokens

    async def close(self, gateway: Gateway) -> None:
        """Nothing to finish."""

    def _history(self, model: BoundModel) -> float | None:
        """Mean output tokens of this model's settled calls; None if there are too few."""
        if model.name not in self._outputs:
            row = model.gateway.store.read(
                "SELECT COUNT(*), AVG(output), AVG(seconds) FROM call WHERE model = ? AND state = 'settled'",
                (model.name,),
            )[0]
            enough = row[0] >= _MIN_HISTORY
            self._outputs[model.name] = row[1] if enough else None
            self._seconds[model.name] = row[2] if enough and row[2] else _TYPICAL_S
        return self._outputs[model.name]


@attrs.frozen
class ItemCalls:
    """The requests of one sampled image, and whether it came to an end."""

    calls: tuple[Observed, ...]
    failed: bool


async def observe(work: Callable[[_T], Awaitable[Any]], items: Iterable[_T]) -> list[ItemCalls]:
    """Run a component's method on sampled items, all at one time, and note the requests of each.

    An item's error ends that item; with `DryRun` its first request that is not in the cache always does, so what the
    component would ask after that answer is not seen.
    """

    async def one(item: _T) -> ItemCalls:
        with observe_calls() as calls:
            try:
                await work(item)
            except DeferredError:
                return ItemCalls(tuple(calls), False)
            except Exception:
                return ItemCalls(tuple(calls), True)
        return ItemCalls(tuple(calls), False)

    return list(await asyncio.gather(*(one(item) for item in items)))


def estimate(observed: Sequence[ItemCalls], images: int, in_flight: int) -> Estimate:
    """Scale a sample up to all images; time assumes `in_flight` calls at one time, at the latency seen."""
    per_item = [[call for call in item.calls if not call.cached] for item in observed]
    everything = [call for item in observed for call in item.calls]
    priced = all(call.cost_usd is not None for call in everything if not call.cached)

    def total(value: Callable[[Observed], float]) -> Interval:
        return _scaled([sum(map(value, calls)) for calls in per_item], images)

    def known(price: str) -> bool:
        asked = [call for call in everything if not call.cached]
        return bool(asked) and all(getattr(call, price) is not None for call in asked)

    work = total(lambda call: call.seconds)
    lanes = max(1, in_flight)
    return Estimate(
        images=images,
        sampled=len(observed),
        calls=total(lambda call: 1.0),
        input_tokens=total(lambda call: call.usage.total - call.usage.output),
        output_tokens=total(lambda call: call.usage.output),
        cost_usd=total(lambda call: call.cost_usd or 0.0) if priced else None,
        cached_usd=total(lambda call: call.cached_usd or 0.0) if known("cached_usd") else None,
        batch_usd=total(lambda call: call.batch_usd or 0.0) if known("batch_usd") else None,
        seconds=Interval(work.mean / lanes, work.low / lanes, work.high / lanes),
        cached_share=sum(call.cached for call in everything) / len(everything) if everything else 0.0,
        is_bound=any(call.is_bound for call in everything),
        failed=sum(item.failed for item in observed),
    )


def _usd(nano: int | None) -> float | None:
    return None if nano is None else usd(nano)


def _scaled(values: Sequence[float], images: int) -> Interval:
    """The mean of a sample times the number of images, with its 95 % interval (Student's t, never below zero)."""
    if not values:
        return Interval(0.0, 0.0, 0.0)
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean * images, 0.0, math.inf)
    freedom = len(values) - 1
    factor = _T_975[freedom] if freedom < len(_T_975) else 1.96 + 2.4 / freedom
    half = factor * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean * images, max(0.0, mean - half) * images, (mean + half) * images)
