"""An event loop whose clock jumps to the next timer: what takes minutes is decided in milliseconds, always the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import attrs

from sgforge.models.limits.concurrency import Gate

_T = TypeVar("_T")


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: the code under test is stuck")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Only timers and callbacks; no input or output."""

    def __init__(self, start: float = 0.0) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.now = start
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtual(work: Coroutine[Any, Any, _T], start: float = 0.0) -> _T:
    """Run a coroutine on a virtual clock that begins at `start`."""
    loop = VirtualLoop(start)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@attrs.define
class Server:
    """A server with a limit per fixed window and a latency; refusals come at once."""

    limit: int | None = None
    window: float = 1.0
    retry_after: float | None = 1.0
    latency: float = 0.2
    most_in_flight: int | None = None
    counts: dict[int, int] = attrs.field(factory=dict)
    received: int = 0
    in_flight: int = 0
    peak: int = 0

    async def call(self) -> bool:
        """One call; False for a 429."""
        self.received += 1
        window = int(asyncio.get_running_loop().time() // self.window)
        self.counts[window] = self.counts.get(window, 0) + 1
        if self.limit is not None and self.counts[window] > self.limit:
            return False
        if self.most_in_flight is not None and self.in_flight >= self.most_in_flight:
            return False
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        return True


async def work_off(gate: Gate, server: Server, items: int) -> tuple[float, Mapping[int, int]]:
    """Send all items through the gate, as the gateway does; (seconds, tries by item)."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    tries: dict[int, int] = {}

    async def one(item: int) -> None:
        while True:
            ticket = await gate.acquire(1, front=item in tries)
            gate.sending(ticket)
            tries[item] = tries.get(item, 0) + 1
            passed = await server.call()
            if passed:
                gate.succeeded()
            else:
                gate.throttled(ticket, server.retry_after)
            gate.release(ticket)
            if passed:
                return
            await asyncio.sleep(server.retry_after or 0.5)

    await asyncio.gather(*(one(item) for item in range(items)))
    return loop.time() - begun, tries
