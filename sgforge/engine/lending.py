"""A model for a training in a process of its own: it asks through a gateway there, over the run's file of answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from sgforge.engine.providers import provider_resolver, typed_models
from sgforge.plugins import Registry

if TYPE_CHECKING:
    from sgforge.models import BoundModel, GatewaySettings, ModelSettings

__all__ = ["ModelAccess", "opened_model"]


@attrs.frozen
class ModelAccess:
    """What another process needs to ask one model; through the file of answers, the budget holds over all of them."""

    model: str
    responses: Path
    gateway: GatewaySettings
    settings: ModelSettings

    def as_json(self) -> dict[str, Any]:
        """As JSON values; settings hold no key, only where to find it."""
        found: dict[str, Any] = attrs.asdict(self, value_serializer=_plain)
        return found

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> ModelAccess:
        """What `as_json` gave."""
        from sgforge.config.strict import structure
        from sgforge.models import GatewaySettings

        gateway, faults = structure(given["gateway"], GatewaySettings)
        assert not faults, faults
        model = given["model"]
        return cls(model, Path(given["responses"]), gateway, typed_models({model: given["settings"]})[model])


def _plain(_instance: Any, _field: Any, value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


@contextmanager
def opened_model(access: ModelAccess | None, registry: Registry) -> Iterator[BoundModel | None]:
    """The model, on a gateway whose event loop runs on a thread of its own while this lasts; None for none."""
    if access is None:
        yield None
        return
    from sgforge.models import Gateway
    from sgforge.models.lent import LentModel

    async def bind() -> BoundModel:
        gateway = Gateway.open(access.responses, access.gateway, provider_resolver(registry))
        try:
            return gateway.bind(access.model, access.settings)
        except BaseException:
            await gateway.close()
            raise

    with _running_loop() as loop:
        owner = asyncio.run_coroutine_threadsafe(bind(), loop).result()
        try:
            yield LentModel.of(owner, loop)
        finally:
            asyncio.run_coroutine_threadsafe(owner.gateway.close(), loop).result()


@contextmanager
def _running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sgforge-models", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
