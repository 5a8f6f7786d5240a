"""Model providers as plugins registered them, and what stands behind the name of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sgforge.config.faults import Fault, render_path
from sgforge.errors import ConfigError
from sgforge.plugins import Registry

if TYPE_CHECKING:
    from sgforge.models import ModelSettings, Provider
    from sgforge.models.provider import ResolveProvider

__all__ = ["ModelIdentities", "check_models", "provider_resolver", "typed_models"]


def typed_models(models: Mapping[str, Any]) -> dict[str, ModelSettings]:
    """Settings by "provider/model"; what `check_models` finds wrong is a `ConfigError`."""
    typed, faults = check_models(models)
    if faults:
        raise ConfigError("; ".join(f"{render_path(fault.where)}: {fault.message}" for fault in faults))
    return typed


def check_models(models: Mapping[str, Any]) -> tuple[dict[str, ModelSettings], tuple[Fault, ...]]:
    """Settings by "provider/model", and every fault; plain mappings are read as those of a config file are."""
    from sgforge.config.strict import structure
    from sgforge.models import ModelSettings

    typed: dict[str, ModelSettings] = {}
    found: list[Fault] = []
    for name, value in models.items():
        settings, faults = (value, ()) if isinstance(value, ModelSettings) else structure(value, ModelSettings)
        found += [fault.under(("models", name)) for fault in faults]
        if not isinstance(name, str) or not all(name.partition("/")):
            found.append(Fault(("models", str(name)), 'must read "provider/model", such as "openai/gpt-4o"'))
        if settings is not None:
            typed[name] = settings
    return typed, tuple(found)


def provider_resolver(registry: Registry) -> ResolveProvider:
    """Builds providers from what plugins registered."""

    def resolve(name: str, settings: ModelSettings) -> Provider:
        provider: Provider = registry.lookup("model", name).load()(settings)
        return provider

    return resolve


class ModelIdentities:
    """What else than its name names each model of a plan: another server, other weights under the same name.

    It is part of the key of every step that asks the model, as it is of every response: what another model answered
    is never taken for its own. The provider says it without a call; weights are read once.
    """

    def __init__(self, registry: Registry, models: Mapping[str, Any]) -> None:
        self._resolve = provider_resolver(registry)
        self._models = models
        self._found: dict[str, str | None] = {}

    def of(self, name: str) -> str | None:
        """What its provider and settings add to a name, None if the name says all.

        A `ConfigError` if weights cannot be read. Limits that the user sets for images count, since a smaller picture
        is another question.
        """
        if name not in self._found:
            from sgforge.models import ModelSettings

            provider_name, _, model = name.partition("/")
            settings = typed_models(self._models).get(name, ModelSettings())
            provider = self._resolve(provider_name, settings)
            try:
                identity = provider.identity(model)
            except OSError as error:
                raise ConfigError(f"model {name!r} cannot be identified: {error}") from error
            self._found[name] = _with_limits(identity, settings)
        return self._found[name]


def _with_limits(identity: str | None, settings: ModelSettings) -> str | None:
    limits = [
        f"{limit}={getattr(settings, limit)}"
        for limit in ("max_image_side", "max_image_bytes")
        if getattr(settings, limit) is not None
    ]
    return " ".join([identity or "", *limits]) if limits else identity
