"""A process that ends itself by SIGKILL at one of its calls, the one that the test wants."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Final

DIES_AT: Final = "TOY_DIES_AT"
"""The environment variable with the number of the call, from 1; 0 and unset: none."""
_CALLS = itertools.count(1)


def maybe_die() -> None:
    """End this process where it is the call's turn."""
    if next(_CALLS) == int(os.environ.get(DIES_AT, "0")):
        os.kill(os.getpid(), signal.SIGKILL)
