"""Models that several components of one process use: loaded once, let go when the last of them closes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Final

import attrs

from sgforge_sam.features import Encoder

__all__ = ["Borrowed", "borrow"]


@attrs.define(eq=False)
class _Shelf:
    encoder: Encoder
    users: int = 0


_LOCK: Final = threading.Lock()
_SHELVES: Final[dict[Hashable, _Shelf]] = {}


@attrs.define(eq=False)
class Borrowed:
    """An encoder that others may be using too; `close` gives it back, once."""

    key: Hashable
    encoder: Encoder
    is_open: bool = True

    def close(self) -> None:
        """Let go of it; the last one frees the model."""
        with _LOCK:
            if self.is_open:
                self.is_open = False
                _SHELVES[self.key].users -= 1
                if not _SHELVES[self.key].users:
                    del _SHELVES[self.key]


def borrow(key: Hashable, load: Callable[[], Encoder]) -> Borrowed:
    """The encoder under `key`, loaded if nobody has it yet."""
    with _LOCK:
        if key not in _SHELVES:
            _SHELVES[key] = _Shelf(load())
        _SHELVES[key].users += 1
        return Borrowed(key, _SHELVES[key].encoder)
