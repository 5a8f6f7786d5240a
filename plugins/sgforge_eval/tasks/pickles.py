"""Reading a pickle of plain values: RefCOCO's files are such pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgforge import plain_pickle
from sgforge.errors import ConfigError
from sgforge_eval.tasks.base import TaskFileError

__all__ = ["read_plain_pickle"]


def read_plain_pickle(path: Path, what: str) -> Any:
    """The plain value in a pickle; a pickle that would import or call anything is a `TaskFileError`."""
    try:
        return plain_pickle.read_plain_pickle(path, what)
    except ConfigError as error:
        raise TaskFileError(str(error)) from None
