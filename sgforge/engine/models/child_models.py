"""Models for a training in a process of its own: it asks through a gateway there, over the run's file of answers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from sgforge.engine.models.providers import provider_resolver, typed_models
from sgforge.engine.process.signals import calling_on
from sgforge.plugins import Registry

if TYPE_CHECKING:
    from sgforge.models import BoundModel, Gateway, GatewaySettings, ModelSettings
    from sgforge.stages import Model

__all__ = ["ModelAccess", "opened_models"]

_ENDING: Final[set[asyncio.Future[None]]] = set()
"""Holds the end of this process, which an event loop would let go of."""


@attrs.frozen
class ModelAccess:
    """What another process needs to ask models; through the file of answers, the budget holds over all processes.

    `models`: the settings of each by its name.
    """

    models: Mapping[str, ModelSettings]
    responses: Path
    gateway: GatewaySettings

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
        return cls(typed_models(given["models"]), Path(given["responses"]), gateway)


def _plain(_instance: Any, _field: Any, value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


@contextmanager
def opened_models(access: ModelAccess | None, registry: Registry) -> Iterator[Mapping[str, Model]]:
    """The models by name, on one gateway whose event loop runs on a thread of its own while this lasts."""
    if access is None:
        yield {}
        return
    from sgforge.models import Gateway
    from sgforge.models.cross_thread import LentModel

    async def bind() -> tuple[Gateway, dict[str, BoundModel]]:
        gateway = Gateway.open(access.responses, access.gateway, provider_resolver(registry), tell=_to_log)
        try:
            return gateway, {name: gateway.bind(name, settings) for name, settings in access.models.items()}
        except BaseException:
            await gateway.close()
            raise

    with _running_loop() as loop:
        gateway, owners = asyncio.run_coroutine_threadsafe(bind(), loop).result()

        def begin_to_end() -> None:
            # A handler may not wait for anything: the loop, which is never in the way of the training, does the rest.
            loop.call_soon_threadsafe(_begin_to_end, gateway)

        with calling_on([signal.SIGTERM], begin_to_end):
            try:
                yield {name: LentModel(owner, loop) for name, owner in owners.items()}
            finally:
                asyncio.run_coroutine_threadsafe(_leave(gateway), loop).result()


def _to_log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


async def _leave(gateway: Gateway) -> None:
    # A training that ends with an error may leave calls behind: nobody wants more of them, but those on the wire are
    # paid for.
    gateway.stop_sending()
    await gateway.drained()
    await gateway.close()


def _begin_to_end(gateway: Gateway) -> None:
    """The run is being stopped: send nothing more, keep what is on the wire, then end this process as SIGTERM does."""

    async def end() -> None:
        await gateway.drained()
        gateway.store.close()
        os._exit(128 + signal.SIGTERM)

    gateway.stop_sending()
    _ENDING.add(asyncio.ensure_future(end()))


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
