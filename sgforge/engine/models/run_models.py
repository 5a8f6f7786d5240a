"""The models of a run: one gateway over the dataset's file of paid answers, opened when a step asks a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sgforge.engine.models.child_models import ModelAccess
from sgforge.engine.models.providers import provider_resolver, typed_models
from sgforge.errors import PreflightError, StepError
from sgforge.plugins import Registry

if TYPE_CHECKING:
    from sgforge.models import Gateway, GatewaySettings, ModelSettings
    from sgforge.models.cache.store import Store
    from sgforge.models.gateway import Watcher
    from sgforge.stages import Model

__all__ = ["Models", "open_models"]

_COST_EVERY: Final = 2.0
"""Seconds between two looks into the ledger."""


async def _stop_sending_after(stop: asyncio.Event, gateway: Gateway) -> None:
    """A stopped run buys nothing more: only calls that are on the wire are awaited."""
    await stop.wait()
    gateway.stop_sending()


class Models:
    """Models bound by name; without any step that asks one there is no gateway, and no file.

    `loop`: the event loop that the gateway was opened on.
    """

    def __init__(
        self,
        gateway: Gateway | None = None,
        settings: Mapping[str, ModelSettings] = MappingProxyType({}),
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._loop = loop
        self._spent_before = self._total()
        self._asked = 0.0
        self._cost = 0.0

    def bind(self, name: str | None) -> Model | None:
        """The model that a component asks, None for a component that asks none."""
        if name is None or self._gateway is None or self._loop is None:
            return None
        from sgforge.models.cross_thread import LentModel

        # Trainings, evaluations and sync components ask it on threads of their own.
        return LentModel(self._gateway.bind(name, self._settings_of(name)), self._loop)

    def access(self, names: Sequence[str]) -> ModelAccess | None:
        """What another process needs to ask these models, None for a component that asks none."""
        if not names or self._gateway is None:
            return None
        if self._gateway.watcher is not None:
            raise StepError(
                f"a training asks {' and '.join(names)}, and cannot wait for a batch: sgforge run asks at once"
            )
        responses = self._gateway.store.path.resolve()
        return ModelAccess({name: self._settings_of(name) for name in names}, responses, self._gateway.settings)

    def _settings_of(self, name: str) -> ModelSettings:
        from sgforge.models import ModelSettings

        return self._settings.get(name, ModelSettings())

    @asynccontextmanager
    async def halted_by(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """While this lasts, `stop` also ends the calls that are not on the wire yet."""
        if self._gateway is None:
            yield
            return
        watch = asyncio.create_task(_stop_sending_after(stop, self._gateway))
        try:
            yield
        finally:
            watch.cancel()

    def check(self, names: Iterable[str]) -> None:
        """Bind these models, and raise everything that they lack as one `PreflightError`."""
        for name in names:
            self.bind(name)
        problems = [] if self._gateway is None else self._gateway.problems()
        if problems:
            raise PreflightError("; ".join(problems))

    def cost_usd(self) -> float:
        """What this run has cost so far; looked up in the ledger every few seconds."""
        now = time.monotonic()
        if self._gateway is not None and now - self._asked >= _COST_EVERY:
            self._asked = now
            self._cost = self._total() - self._spent_before
        return self._cost

    def spent_on(self, name: str) -> float | None:
        """USD that a model has cost so far, earlier runs included; None where its price is not known."""
        rows = [] if self._gateway is None else [row for row in self._gateway.spending() if row.model == name]
        return rows[0].usd if rows and not rows[0].unpriced else None

    def _total(self) -> float:
        return 0.0 if self._gateway is None else self._gateway.spent_usd()


@asynccontextmanager
async def open_models(
    names: Sequence[str],
    own: Mapping[str, Any],
    *,
    registry: Registry,
    responses: Path | Store,
    settings: GatewaySettings,
    watcher: Watcher | None = None,
    tell: Callable[[str], None] | None = None,
) -> AsyncIterator[Models]:
    """The models of these names, for the time of a run; what they lack is found before any work.

    `own`: settings by name. `responses`: the file of paid answers, or that file open already. `watcher` stands before
    every call that would be bought: batch mode, estimates. `tell` hears of tries that fail again and again.
    """
    if not names:
        yield Models()
        return
    from sgforge.models import Gateway
    from sgforge.models.cache.store import Store

    store = Store(responses) if isinstance(responses, Path) else responses
    async with Gateway.over(store, settings, provider_resolver(registry), watcher, tell) as gateway:
        models = Models(gateway, typed_models(own), asyncio.get_running_loop())
        models.check(names)
        yield models
