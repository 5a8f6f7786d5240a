"""LentModel: a bound model for whoever is not on its gateway's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs

from sgforge.models.gateway import BoundModel
from sgforge.models.values import ChatRequest, ChatResponse

__all__ = ["LentModel"]

T = TypeVar("T")


@attrs.define(eq=False)
class LentModel(BoundModel):
    """A model that may be asked on any thread and any event loop, also one that ends after each question.

    The work is done on the loop of the gateway, where connections, limits and the budget are; it must go on running.
    """

    owner: BoundModel = attrs.field(repr=False)
    loop: asyncio.AbstractEventLoop = attrs.field(repr=False)

    @classmethod
    def of(cls, owner: BoundModel, loop: asyncio.AbstractEventLoop) -> LentModel:
        """Lend a model whose gateway was opened on `loop`."""
        return cls(owner.gateway, owner.caller, owner, loop)

    async def key(self, request: ChatRequest) -> bytes:
        """The name of a request's answer, 32 bytes."""
        return await self._there(self.owner.key, request)

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """The answer to a request, from the cache or bought now; a `ModelError` says why there is none."""
        return await self._there(self.owner.complete, request)

    async def _there(self, call: Callable[[ChatRequest], Coroutine[Any, Any, T]], request: ChatRequest) -> T:
        if asyncio.get_running_loop() is self.loop:
            return await call(request)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(request), self.loop))
