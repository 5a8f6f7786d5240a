"""Cancelling a coroutine at one point of all those where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any


class CancelledAt:
    """Awaits a coroutine; the task is cancelled when it suspends for the so-manieth time, as from outside."""

    def __init__(self, work: Any, at: int) -> None:
        self._work = work
        self._at = at
        self.suspended = 0

    def __await__(self) -> Generator[Any, None, Any]:
        inner = self._work.__await__()
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = inner.send(None) if thrown is None else inner.throw(thrown)
            except StopIteration as done:
                return done.value
            self.suspended += 1
            if self.suspended == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            thrown = None
            try:
                yield waits_for
            except BaseException as error:
                thrown = error
