"""Ctrl-C during a run: a signal calls a function, and never raises in the middle of something else.

An exception that a signal raises can come between any two instructions: before a thread counts as started, in a
finalizer, where Python drops it, or in the handling of the Ctrl-C before it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["calling_on"]


@contextmanager
def calling_on(signals: Sequence[signal.Signals], action: Callable[[], None]) -> Iterator[None]:
    """Inside, each of `signals` calls `action` and does nothing else; afterwards they do what they did before.

    `action` runs between two instructions of the main thread, so it must not wait for a lock. A signal that this
    process ignores (after `nohup`, or in the background of a script) stays ignored. Only the main thread can receive
    signals: in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def act(number: int, frame: FrameType | None) -> None:
        action()

    # Python's own handler would raise KeyboardInterrupt wherever the main thread happens to be.
    # None: set by something other than Python, which alone could put it back.
    taken = [number for number in signals if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, act) for number in taken}
    try:
        yield
    finally:
        # Every one of them, so that a run in a notebook leaves its Ctrl-C as it was.
        for number, handler in before.items():
            signal.signal(number, handler)
