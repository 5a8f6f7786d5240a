"""What a token costs: a versioned table, a user's file over it, a model's own settings over both."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.errors import ConfigError
from sgforge.models.settings import ModelSettings
from sgforge.models.values import ChatRequest, Usage

__all__ = ["NANO", "Price", "PriceTable", "cost_nano", "input_bound", "usd", "worst_case"]

NANO: Final = 1_000_000_000
"""Nano-dollars in a dollar; a price of 0.001 USD per million tokens is still one whole nano-dollar a token."""

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
_REQUEST_TOKENS: Final = 512
_MESSAGE_TOKENS: Final = 16
_COUNTS: Final = ("image_tokens", "long_above")
_FACTORS: Final = ("batch_factor", "long_input", "long_output")
_LEAST: Final[Mapping[str, int]] = {"long_input": 1, "long_output": 1}
_FIELDS: Final = ("input", "cache_read", "cache_write", "output", *_FACTORS, *_COUNTS)


@attrs.frozen
class Price:
    """USD per million tokens. `batch_factor`: what a batch call costs of it. `image_tokens`: most tokens of an image at
    the size that is sent by default. A call of more than `long_above` input tokens costs `long_input` times as much for
    all input and `long_output` times for output.

    Cached tokens cost as much as plain input where the table does not say otherwise.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    batch_factor: float = 1.0
    image_tokens: int | None = None
    long_above: int | None = None
    long_input: float = 1.0
    long_output: float = 1.0


@attrs.frozen
class PriceTable:
    """Prices by "provider/model"; `version` names the table in every ledger row."""

    version: str
    prices: Mapping[str, Price]

    @classmethod
    def load(cls, override: Path | None = None) -> PriceTable:
        """The table of this package, with a user's file over it; a mistake in the file is a `ConfigError`."""
        built_in = resources.files("sgforge.models").joinpath("prices.toml").read_text("utf-8")
        table = _read(built_in, "prices.toml")
        if override is None:
            return table
        try:
            mine = _read(override.read_text("utf-8"), str(override))
        except OSError as error:
            raise ConfigError(f"price file {override}: {error.strerror}: check prices in [gateway]") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"price file {override}: {error}") from error
        return cls(f"{table.version}+{mine.version}", {**table.prices, **mine.prices})

    def find(self, model: str, settings: ModelSettings) -> Price | None:
        """The price of a model: its settings, else its entry, else the entry of its undated name; None if unknown."""
        price = self.prices.get(model) or self.prices.get(_DATED.sub("", model))
        if settings.input_usd is None and settings.output_usd is None:
            return price and _overridden(price, settings)
        if settings.input_usd is None or settings.output_usd is None:
            raise ConfigError(f'[models."{model}"]: give both input_usd and output_usd, or neither')
        return _overridden(Price(settings.input_usd, settings.output_usd), settings)

    def needed(self, model: str, settings: ModelSettings, budget_usd: float | None) -> Price | None:
        """The price of a model; with a budget an unknown one is a `ConfigError`."""
        price = self.find(model, settings)
        if price is None and budget_usd is not None:
            raise ConfigError(
                f"budget_usd is set and the price of {model} is not known: give input_usd and output_usd in "
                f'[models."{model}"], or a price file'
            )
        return price


def cost_nano(price: Price, usage: Usage, batch: bool = False) -> int:
    """What a call cost, in nano-dollars, rounded up."""
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    given = usage.input * price.input + usage.cache_read * read + usage.cache_write * write
    written = usage.output * price.output
    if price.long_above is not None and usage.total - usage.output > price.long_above:
        given, written = given * price.long_input, written * price.long_output
    return math.ceil((given + written) * (price.batch_factor if batch else 1.0) * (NANO / 1_000_000) - 1e-6)


def input_bound(request: ChatRequest, image_tokens: int) -> int:
    """The most input tokens a request can be billed as: a token holds at least one byte of its UTF-8 text."""
    import orjson

    schema = len(orjson.dumps(request.schema)) if request.schema is not None else 0
    framing = _REQUEST_TOKENS + _MESSAGE_TOKENS * len(request.messages)
    return request.text_bytes + schema + framing + image_tokens * len(request.images)


def worst_case(price: Price, input_tokens: int, max_tokens: int, batch: bool = False) -> int:
    """The most a call can cost, in nano-dollars: all of its bound, at the dearest kind of input."""
    dearest = max(price.input, price.cache_write or 0.0, price.cache_read or 0.0)
    return cost_nano(attrs.evolve(price, input=dearest), Usage(input_tokens, output=max_tokens), batch)


def usd(nano: int) -> float:
    """Nano-dollars as dollars."""
    return nano / NANO


def _overridden(price: Price, settings: ModelSettings) -> Price:
    return attrs.evolve(
        price,
        cache_read=_first(settings.cache_read_usd, price.cache_read),
        cache_write=_first(settings.cache_write_usd, price.cache_write),
        batch_factor=price.batch_factor if settings.batch_factor is None else settings.batch_factor,
        image_tokens=price.image_tokens if settings.image_tokens is None else settings.image_tokens,
    )


def _first(value: float | None, other: float | None) -> float | None:
    return other if value is None else value


def _read(text: str, where: str) -> PriceTable:
    """Parse and check a price file; all faults in one error."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"price file {where}: {error}") from error
    faults: list[str] = []
    version = content.pop("version", None)
    models = content.pop("models", {})
    if not isinstance(version, str):
        faults.append('version must be a text such as "2026-11-20"')
    faults += [f"unknown key {name!r}: it may hold version and models" for name in content]
    if not isinstance(models, dict):
        faults.append('models must be tables such as [models."openai/gpt-6.2-sol"]')
        models = {}
    prices = {name: price for name, entry in models.items() if (price := _entry(name, entry, faults)) is not None}
    if faults:
        raise ConfigError(f"price file {where}: " + "; ".join(faults))
    return PriceTable(str(version), prices)


def _entry(name: str, entry: Any, faults: list[str]) -> Price | None:
    before = len(faults)
    where = f'[models."{name}"]'
    if "/" not in name:
        faults.append(f"{where}: the name must read provider/model")
    if not isinstance(entry, dict):
        faults.append(f"{where}: must be a table")
        return None
    for field, value in entry.items():
        if field not in _FIELDS:
            faults.append(f"{where}: unknown key {field!r}; it may hold {', '.join(_FIELDS)}")
        elif field in _COUNTS:
            if type(value) is not int or value < 1:
                faults.append(f"{where}: {field} must be a whole number above 0, got {value!r}")
        elif type(value) not in (int, float) or not math.isfinite(value) or value < _LEAST.get(field, 0):
            meaning = "a factor" if field in _FACTORS else "a number of USD per million tokens"
            faults.append(f"{where}: {field} must be {meaning}, at least {_LEAST.get(field, 0)}, got {value!r}")
    faults += [f"{where}: {field} is missing" for field in ("input", "output") if field not in entry]
    return Price(**entry) if len(faults) == before else None
