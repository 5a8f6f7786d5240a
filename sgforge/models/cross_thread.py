"""LentModel: a model for whoever is not on its gateway's event loop."""

from __future__ import annotations

import asyncio

import attrs

from sgforge.models.gateway import BoundModel
from sgforge.models.provider import Capabilities
from sgforge.models.values import ChatRequest, ChatResponse

__all__ = ["LentModel"]


@attrs.frozen(eq=False)
class LentModel:
    """A model that may be asked on any thread and any event loop, also one that ends after each question.

    The work is done on the loop that the gateway of `owner` was opened on, where connections, limits and the budget
    are; it must go on running. What a component holds: the gateway does not show.
    """

    _owner: BoundModel = attrs.field(repr=False)
    _loop: asyncio.AbstractEventLoop = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The model as "provider/model"."""
        return self._owner.name

    @property
    def capabilities(self) -> Capabilities:
        """What the provider can do."""
        return self._owner.capabilities

    @property
    def max_in_flight(self) -> int:
        """The most calls that will ever run at one time."""
        return self._owner.max_in_flight

    async def complete(self, request: ChatRequest, /) -> ChatResponse:
        """The answer to a request, from the cache or bought now; a `ModelError` says why there is none."""
        if asyncio.get_running_loop() is self._loop:
            return await self._owner.complete(request)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._owner.complete(request), self._loop))
