"""Reading ahead: the next items are made on a thread while this one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Final, TypeVar

__all__ = ["ahead"]

_T = TypeVar("_T")
_AHEAD: Final = 2


def ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items in the same order, two made before they are asked for; what raises there is raised here."""
    ready: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue(_AHEAD)
    left = threading.Event()

    def give(item: _T | None, error: BaseException | None) -> None:
        while not left.is_set():
            try:
                ready.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                give(item, None)
                if left.is_set():
                    return
        except BaseException as error:  # it belongs to whoever reads
            give(None, error)
        else:
            give(None, StopIteration())

    thread = threading.Thread(target=make, name="robin-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        left.set()
        thread.join()
