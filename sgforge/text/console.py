"""File names and output in a locale that lacks their characters: a name is found all the same, and shown escaped."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Final

__all__ = ["name_any_file", "print_in_any_encoding"]

MODE_VARIABLE: Final = "PYTHONUTF8"
"""Python's UTF-8 mode; 0 with an ASCII locale makes the command line set it to 1 for itself and its children."""

OUTPUT_VARIABLE: Final = "PYTHONIOENCODING"
"""Python's encoding of input and output; what the terminal lacks is shown as an escape in any."""


def name_any_file() -> None:
    """Start the process anew in Python's UTF-8 mode, where the locale is ASCII and could name no other files.

    Python does so by itself in the C locale, unless told not to; what is printed stays in the terminal's encoding.
    """
    if sys.getfilesystemencoding() != "ascii" or os.environ.get(MODE_VARIABLE) == "1":
        return
    os.environ[MODE_VARIABLE] = "1"  # child processes read it too
    shown = sys.stdout.encoding if sys.stdout is not None else "ascii"
    os.environ.setdefault(OUTPUT_VARIABLE, f"{shown}:backslashreplace")
    os.execv(sys.executable, sys.orig_argv)


def print_in_any_encoding() -> None:
    """Let a character that the terminal's encoding lacks be printed as its escape, where it would be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
