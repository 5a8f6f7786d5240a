"""Python's collector of cycles during a run: seldom by count, regularly by time.

It starts by default after every 700 new objects, and looks through all that are young. A run with hundreds of calls
in flight makes and drops objects by the thousand a millisecond, nearly none of them in cycles: at 400 in flight a
fifth of its time went there (`benchmarks/gateway.py --only rate`).
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["seldom_collecting"]

_OBJECTS: Final = 50_000
_EVERY: Final = 1.0
"""Seconds: what a cycle holds on to, such as the picture of an image that failed, is not kept for longer."""

_lock = threading.Lock()
_before: list[tuple[int, int, int]] = []
"""The thresholds as each run under way found them; the settings belong to the process, which may have several."""


@asynccontextmanager
async def seldom_collecting() -> AsyncIterator[None]:
    """Inside, cycles are collected every second instead of every few hundred objects; afterwards as before.

    A collector that is switched off stays so.
    """
    if not gc.isenabled() or gc.get_threshold()[0] == 0:
        yield
        return
    with _lock:
        found = gc.get_threshold()
        _before.append(found)
        gc.set_threshold(max(found[0], _OBJECTS), *found[1:])
    regularly = asyncio.create_task(_collect())
    try:
        yield
    finally:
        regularly.cancel()
        with _lock:
            if len(_before) == 1:
                gc.set_threshold(*_before[0])
            _before.pop()


async def _collect() -> None:
    while True:
        await asyncio.sleep(_EVERY)
        gc.collect(1)
