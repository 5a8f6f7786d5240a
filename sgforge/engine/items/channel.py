"""Channel: a bounded queue between two steps whose hops carry lists of items."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Channel"]

T = TypeVar("T")


class Channel(Generic[T]):
    """Items in order of arrival; putting waits while `capacity` items are there. For one event loop."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._closed = False
        self._getters: deque[asyncio.Future[None]] = deque()
        self._putters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, items: Sequence[T]) -> None:
        """Add all items once there is room for one; a closed channel drops them (the run is being stopped)."""
        while len(self._items) >= self._capacity and not self._closed:
            await _wait(self._putters)
        if self._closed or not items:
            return
        # All of them, also past the capacity: a list is never split, or half of it would have to wait as an item.
        self._items.extend(items)
        _wake(self._getters, len(items))

    async def get(self, most: int, patience: float = 0.0) -> list[T]:
        """One to `most` items; waits for the first, then up to `patience` seconds for a full batch; [] at the end."""
        while not self._items:
            if self._closed:
                return []
            await _wait(self._getters)
        if patience > 0.0 and len(self._items) < most and not self._closed:
            await self._fill(most, patience)
        if not self._items:
            # Another getter took them while this one waited for more.
            return await self.get(most, patience)
        if most == 1:
            taken = [self._items.popleft()]
        else:
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        # A getter that was cancelled, or waits for a full batch, may have used up the wake-up of an item that is still
        # here: whoever leaves items behind tells the next one.
        if self._items:
            _wake(self._getters, 1)
        # All of them, as each puts a list of any length: the first may fill the room, the others look and wait again.
        if self._putters and len(self._items) < self._capacity:
            _wake(self._putters, len(self._putters))
        return taken

    async def _fill(self, most: int, patience: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while len(self._items) < most and not self._closed and (left := deadline - loop.time()) > 0:
            # Each item that comes ends one wait; the deadline is that of the first, or a slow trickle would hold a
            # batch back for ever.
            try:
                async with asyncio.timeout(left):
                    await _wait(self._getters)
            except TimeoutError:
                return

    def close(self, *, discard: bool = False) -> None:
        """No more items come; `discard` also drops those that wait."""
        self._closed = True
        if discard:
            self._items.clear()
        _wake(self._getters, len(self._getters))
        _wake(self._putters, len(self._putters))


async def _wait(waiters: deque[asyncio.Future[None]]) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.append(future)
    try:
        await future
    except asyncio.CancelledError:
        # A waiter that was woken and cancelled at once must not swallow the wake-up.
        if future.done() and not future.cancelled():
            _wake(waiters, 1)
        elif future in waiters:
            waiters.remove(future)
        raise


def _wake(waiters: deque[asyncio.Future[None]], count: int) -> None:
    while waiters and count > 0:
        future = waiters.popleft()
        if not future.done():
            future.set_result(None)
            count -= 1
