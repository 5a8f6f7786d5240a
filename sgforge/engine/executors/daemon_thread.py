"""A thread that does one call after the other, and keeps no process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

__all__ = ["DaemonThread"]


class DaemonThread:
    """Runs calls in order. A daemon: a cancelled run must not wait for a call that nobody wants any more."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """What a call will give or raise, made after those before it, with the context variables of the caller."""
        answer: Future[Any] = Future()
        context = copy_context()
        self._calls.put((lambda: context.run(function, *arguments), answer))
        return answer

    def end(self) -> None:
        """End after the calls so far, without waiting for them."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, answer = item
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(call())
            except BaseException as error:  # it is the caller's, whatever it is
                answer.set_exception(error)
