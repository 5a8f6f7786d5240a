"""Reading a pickle of plain values without running anything it names."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

from sgforge.errors import ConfigError

__all__ = ["read_plain_pickle"]


class _PlainUnpickler(pickle.Unpickler):
    """Builds lists, dicts, tuples, texts and numbers only: any name of a class or function is refused."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which plain data does not")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise pickle.UnpicklingError("it refers to an object outside of the file")


def read_plain_pickle(path: Path, what: str) -> Any:
    """The plain value in a pickle; a pickle that would import or call anything is a `ConfigError`."""
    try:
        data = path.read_bytes()
        return _PlainUnpickler(io.BytesIO(data), encoding="utf-8", errors="replace").load()
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error}") from None
    except Exception as error:  # a malformed pickle may raise nearly anything
        raise ConfigError(f"{what} {path} is refused: {error}") from None
