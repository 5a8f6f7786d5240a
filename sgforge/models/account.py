"""What the calls under way in this process may cost: the budget's open reservations."""

from __future__ import annotations

import asyncio

__all__ = ["Account"]


class Account:
    """Reservations of this process that are open; who finds no room left waits for one to be settled."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._changed: asyncio.Event | None = None

    @property
    def open_nano(self) -> int:
        """What the open reservations may cost at most, in nano-dollars."""
        return sum(self._open.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is reserved."""
        return not self._open

    def opened(self, call: int, bound_nano: int) -> None:
        """A call was reserved."""
        self._open[call] = bound_nano

    def closed(self, call: int) -> None:
        """A reservation was settled, lost or voided, or is out of our hands."""
        self._open.pop(call, None)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait(self) -> None:
        """Until the next reservation is closed."""
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()
