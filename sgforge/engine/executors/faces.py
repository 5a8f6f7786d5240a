"""Parts as their holder sees them: a sync holder asks async parts in batches, an async one sync parts one by one.

A part that works the way its holder does stands for itself. Any other lives elsewhere: an async one on an event loop of
its own, a sync one on a thread of its own, where it is also set up and closed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from sgforge.engine.executors.answering import Raised, listed, tried
from sgforge.engine.executors.daemon_thread import DaemonThread
from sgforge.engine.planning.components import ComponentSpec, is_async
from sgforge.stages import KINDS

__all__ = ["InBatches", "LoopThread", "OneByOne", "is_async_part"]

Row: TypeAlias = tuple[Any, ...]
"""A sample, and what belongs to it."""


def is_async_part(spec: ComponentSpec) -> bool:
    """Whether a component is asked with `await`: the first method of its kind says it."""
    methods = KINDS[spec.kind].all_methods
    return any(is_async(spec.target(), method) for method in methods)


class LoopThread:
    """An event loop that runs on a thread of its own until it is ended."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine gives or raises there; the context variables are the caller's."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def end(self) -> None:
        """End the loop and its thread; nothing may run there any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Face:
    """Everything that is no method of its kind is the component's own."""

    def __init__(self, component: Any) -> None:
        self._component = component

    def __getattr__(self, name: str) -> Any:
        return getattr(self._component, name)


class InBatches(_Face):
    """An async component for a sync holder: a batch is asked sample by sample, all in flight at the same time."""

    def __init__(self, component: Any, kind: str, loop: LoopThread) -> None:
        super().__init__(component)
        for name in KINDS[kind].all_methods:
            if is_async(component, name):
                setattr(self, name, partial(_ask_all, loop, getattr(component, name)))


def _ask_all(loop: LoopThread, method: Callable[..., Any], *batches: Sequence[Any]) -> list[Any]:
    async def asking() -> list[Any]:
        calls = (method(*row) for row in zip(*batches, strict=True))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        # All are waited for: their answers may be paid, and are kept.
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return list(answers)

    return list(loop.run(asking()))


class OneByOne(_Face):
    """A sync component for an async holder: what is asked meanwhile is its next batch, on the component's thread.

    `most`: samples of a batch; one for a component that asks a model, so that each call is recorded for its sample.
    """

    def __init__(self, component: Any, kind: str, thread: DaemonThread, most: int) -> None:
        super().__init__(component)
        for name in KINDS[kind].all_methods:
            if callable(getattr(component, name, None)):
                setattr(self, name, _Gathering(getattr(component, name), thread, most).ask)


class _Gathering:
    """The samples that wait for one method."""

    def __init__(self, method: Callable[..., Any], thread: DaemonThread, most: int) -> None:
        self._method = method
        self._thread = thread
        self._most = most
        self._waiting: SimpleQueue[tuple[Row, Future[Any]]] = SimpleQueue()

    async def ask(self, *row: Any) -> Any:
        """The answer for one sample."""
        answer: Future[Any] = Future()
        self._waiting.put((row, answer))
        # Each brings a call of its own, which finds nothing left where an earlier one took its sample along.
        self._thread.call(self._work)
        return await asyncio.wrap_future(answer)

    def _work(self) -> None:
        batch: list[tuple[Row, Future[Any]]] = []
        with suppress(Empty):
            while len(batch) < self._most:
                row, answer = self._waiting.get_nowait()
                if answer.set_running_or_notify_cancel():
                    batch.append((row, answer))
        if batch:
            self._answer(batch)

    def _answer(self, batch: Sequence[tuple[Row, Future[Any]]]) -> None:
        for (_, future), found in zip(batch, tried(self._ask, [row for row, _ in batch]), strict=True):
            if isinstance(found, Raised):
                # It is the holder's, whatever it is.
                future.set_exception(found.error)
            else:
                future.set_result(found)

    def _ask(self, rows: Sequence[Row]) -> list[Any]:
        return listed(self._method(*map(list, zip(*rows, strict=True))), len(rows))
