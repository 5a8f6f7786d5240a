"""Where in a plugin's code an error arose, for people who read one line and no traceback."""

from __future__ import annotations

import importlib
import os
import traceback
from typing import Final

import attr
import pluggy

__all__ = ["place_of"]

_FILES = (__file__, importlib.__file__, pluggy.__file__, attr.__file__)
_OURS: Final = ("<frozen", "<attrs ", *(os.path.dirname(file) + os.sep for file in _FILES))
"""Where the frames of loading, calling and building values come from."""


def place_of(error: BaseException) -> str:
    """` (teacher.py, line 12)`: the last line of the plugin's own files that the error passed; else empty."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    if not frames:
        return ""
    home = os.path.dirname(frames[0].filename)
    last = [frame for frame in frames if frame.filename.startswith(home)][-1]
    return f" ({os.path.basename(last.filename)}, line {last.lineno})"
