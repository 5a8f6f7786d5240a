"""Which calls stand behind an answer: a collector that follows the task, not the thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["collect_calls", "note_call"]

_COLLECTOR: ContextVar[list[str] | None] = ContextVar("sgforge_calls", default=None)


@contextmanager
def collect_calls() -> Iterator[list[str]]:
    """Collect the call ids of every model answer used inside, in order, each once; also in tasks started inside."""
    calls: list[str] = []
    token = _COLLECTOR.set(calls)
    try:
        yield calls
    finally:
        _COLLECTOR.reset(token)


def note_call(call_id: str) -> None:
    """Add a call to the collector around this task, if there is one."""
    calls = _COLLECTOR.get()
    if calls is not None and call_id not in calls:
        calls.append(call_id)
