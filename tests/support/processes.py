"""Whether processes that a test started, or that these started, are still there."""

from __future__ import annotations

from pathlib import Path

__all__ = ["is_running"]


def is_running(process: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked for its end does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second if it ends while this is read
        return False
    # A killed child stays as a zombie until whoever inherited it has asked for its end.
    return status.rpartition(")")[2].split()[0] != "Z"
