"""The models that steps ask: what a gateway would refuse before its first call, found without opening one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgforge.config.faults import Fault
from sgforge.engine.models.providers import check_models, provider_resolver
from sgforge.errors import ConfigError, SgforgeError
from sgforge.plugins import Registry, unmet_needs

if TYPE_CHECKING:
    from sgforge.models import GatewaySettings, ModelSettings
    from sgforge.models.money.prices import PriceTable

__all__ = ["AskedModels"]


class AskedModels:
    """Looks at models by name. Nothing is sent, written or loaded but the providers' own code.

    `gateway`: with it, prices are looked at too. `settings`: of each model, read once for all of the run. `faults`:
    what is wrong with these and the price file.
    """

    def __init__(self, registry: Registry, models: Mapping[str, Any], gateway: GatewaySettings | None = None) -> None:
        self._registry = registry
        self._gateway = gateway
        self.settings, faults = check_models(models)
        self._prices: PriceTable | None = None
        self.faults = list(faults)
        if gateway is not None and gateway.prices is not None:
            self._load_prices(gateway)

    def lacks(self, model: str | None) -> Iterator[str]:
        """One sentence per need of a model that is not met, each with its mend."""
        provider, slash, rest = (model or "").partition("/")
        if model is None or not (provider and slash and rest):
            yield f'needs a model: give it model = "provider/model", not {model!r}'
            return
        try:
            component = self._registry.lookup("model", provider)
        except SgforgeError as error:
            yield f"asks {model!r}: {error}"
            return
        from sgforge.models import ModelSettings

        settings = self.settings.get(model, ModelSettings())
        unmet = unmet_needs(component, has_key=bool(settings.api_key_env or settings.api_key_file))
        found = [*(f", whose provider {problem}" for problem in unmet), *_key_problems(settings)]
        found += [f": {problem}" for problem in self._refusals(model, settings, can_be_asked=not found)]
        yield from (f"asks {model!r}{problem}" for problem in found)

    def _refusals(self, model: str, settings: ModelSettings, can_be_asked: bool) -> Iterator[str]:
        """What the provider itself says, unless its needs are told already, and the price."""
        name, _, rest = model.partition("/")
        try:
            provider = provider_resolver(self._registry)(name, settings)
            if can_be_asked:
                yield from provider.problems(rest)
            paid = provider.capabilities(rest).paid
            if self._gateway is not None and paid and not self.faults:
                self._table().needed(model, settings, self._gateway.budget_usd)
        except ConfigError as error:
            yield str(error)
        except SgforgeError as error:
            if can_be_asked:
                yield str(error)

    def _load_prices(self, gateway: GatewaySettings) -> None:
        try:
            self._table()
        except ConfigError as error:
            self.faults.append(Fault(("models",), str(error)))

    def _table(self) -> PriceTable:
        if self._prices is None:
            from sgforge.models.money.prices import PriceTable

            self._prices = PriceTable.load(None if self._gateway is None else self._gateway.prices)
        return self._prices


def _key_problems(settings: ModelSettings) -> Iterator[str]:
    key_file = settings.api_key_file
    if key_file is not None and not Path(key_file).expanduser().is_file():
        yield f", whose api_key_file {key_file} does not exist: write the key into it"
    if settings.api_key_env and not os.environ.get(settings.api_key_env):
        yield f", which needs the environment variable {settings.api_key_env}: export {settings.api_key_env}=..."
