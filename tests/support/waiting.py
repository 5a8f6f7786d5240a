"""Waiting for what another process or thread does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Final

__all__ = ["LONGEST", "read_until", "wait_until"]

LONGEST: Final = 900.0
"""Seconds after which what a test waits for will not happen any more, however busy the machine is."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Until the condition holds; `what` is what did not happen, for the failure."""
    ends = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < ends, f"{what}: not in {LONGEST:.0f} s"
        time.sleep(0.01)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a process writes to its standard error until a line with `words` comes, that line included."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was not said:\n{said}")
