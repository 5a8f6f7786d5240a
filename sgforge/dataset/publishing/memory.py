"""Memory that publishing is done with."""

from __future__ import annotations

import ctypes

__all__ = ["give_back_memory"]


def give_back_memory() -> None:
    """Return freed memory to the system: a publication frees hundreds of megabytes, which glibc keeps for each thread.

    Does nothing where the C library has no `malloc_trim`.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
