"""Where in a plugin's code an error arose, for people who read one line and no traceback."""

from __future__ import annotations

import importlib
import os
import traceback
from typing import Final

import attr
import pluggy

__all__ = ["place_of", "told", "words_of"]

_PACKAGE = os.path.dirname(__file__)  # of this room, whose folder is the package's
_FILES = (_PACKAGE, importlib.__file__, pluggy.__file__, attr.__file__)
_OURS: Final = ("<frozen", "<attrs ", *(os.path.dirname(file) + os.sep for file in _FILES))
"""Where the frames of loading, calling and building values come from."""


def told(error: BaseException) -> str:
    """`ValueError: what it says (teacher.py, line 12)`, for any exception, also one that cannot say anything."""
    return f"{type(error).__name__}: {words_of(error)}{place_of(error)}"


def words_of(error: BaseException) -> str:
    """What an exception says; one whose `__str__` raises says that."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # a plugin's own class may do anything here, and it is one image's fault
        return f"(its message cannot be read: __str__ raised {type(broken).__name__})"


def place_of(error: BaseException) -> str:
    """` (teacher.py, line 12)`: the last line of the plugin's own files that the error passed; else empty."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    if not frames:
        return ""
    home = os.path.dirname(frames[0].filename)
    last = [frame for frame in frames if frame.filename.startswith(home)][-1]
    return f" ({os.path.basename(last.filename)}, line {last.lineno})"
