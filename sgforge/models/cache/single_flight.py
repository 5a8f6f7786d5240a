"""Single flight: equal requests that are asked at the same time become one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

_T = TypeVar("_T")


class SingleFlight(Generic[_T]):
    """Work under way by key; who asks for the same key meanwhile gets the same result or the same error."""

    def __init__(self) -> None:
        self._flying: dict[bytes, asyncio.Future[_T]] = {}

    @property
    def flying(self) -> list[asyncio.Future[_T]]:
        """The work under way."""
        return list(self._flying.values())

    async def run(self, key: bytes, work: Callable[[], Awaitable[_T]]) -> tuple[_T, bool]:
        """(result, whether someone else did the work). If the one who does it is cancelled, another takes over."""
        while (flying := self._flying.get(key)) is not None:
            # `wait` raises only what happens to us. Awaiting the future itself would not tell a leader's cancellation
            # from our own when a task group cancels both at once, and we would take over what nobody wants any more.
            await asyncio.wait((flying,))
            if not flying.cancelled():
                return flying.result(), True
        return await self._lead(key, work), False

    async def _lead(self, key: bytes, work: Callable[[], Awaitable[_T]]) -> _T:
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._flying[key] = future
        try:
            result = await work()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # seen here: nobody else may be waiting
            raise
        except BaseException:
            # Given up, which says nothing about the work: one of those who wait takes it over.
            future.cancel()
            raise
        else:
            future.set_result(result)
            return result
        finally:
            # After the future is done and before anybody wakes: who comes now starts anew, and finds the cache filled.
            del self._flying[key]
