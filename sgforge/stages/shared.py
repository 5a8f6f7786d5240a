"""What components of one process hold in common: weights that are loaded once, features that are computed once."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

import attrs

__all__ = ["IN_PROCESS", "Shared"]

T = TypeVar("T")
_MAX_BYTES: Final = 512 * 1024 * 1024


@attrs.define(eq=False)
class _Place:
    """Where the value of one key is made, by one thread at a time."""

    lock: Any = attrs.field(factory=threading.RLock)
    users: int = 0


class Shared:
    """Values by key, each made once, for use by several threads; keys name all that the value depends on.

    Weights go by (what loads them, sha256 of the file, device, dtype), features of images by (what makes them, that of
    its weights, sha256 of the image). A value is there for as long as someone holds it; one with a size is also kept
    while nobody does, up to `max_bytes` in all, the last used longest. What is shared is not changed.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._places: dict[Hashable, _Place] = {}
        self._held: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def __repr__(self) -> str:
        return "Shared()"

    def __reduce__(self) -> str:
        # Another process has its own.
        return "IN_PROCESS"

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int] | int = 0) -> T:
        """The value of a key, made now if nobody has it; what `make` raises is raised, and the next one tries again.

        `size`: bytes of the value (or what tells them of it); 0 for what need not outlive those who hold it. A value
        that no weak reference can be made to, such as a tuple, must have a size.
        """
        place = self._enter(key)
        try:
            with place.lock:
                found = self._find(key)
                if found is None:
                    found = make()
                    self._keep(key, found, size(found) if callable(size) else size)
                return found  # type: ignore[no-any-return]
        finally:
            self._leave(key, place)

    def _enter(self, key: Hashable) -> _Place:
        with self._lock:
            place = self._places.setdefault(key, _Place())
            place.users += 1
            return place

    def _leave(self, key: Hashable, place: _Place) -> None:
        with self._lock:
            place.users -= 1
            if not place.users:
                del self._places[key]

    def _find(self, key: Hashable) -> Any:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            return self._held.get(key)

    def _keep(self, key: Hashable, value: Any, size: int) -> None:
        with self._lock:
            try:
                self._held[key] = value
            except TypeError:
                if not size:
                    raise TypeError(f"a {type(value).__name__} cannot be shared without a size") from None
            if 0 < size <= self._max_bytes:
                self._kept[key] = (value, size)
                self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed


IN_PROCESS: Final = Shared()
"""The store of this process."""
