"""What an option says of a model's weights: a place on this machine, or a name on the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["path_or_hub_id"]

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILES: Final = (".pth", ".pt", ".bin", ".safetensors")


def path_or_hub_id(value: Path | str) -> Path | str:
    """A path, which counts in keys by its contents; or a hub id ("owner/name"), which counts as it is written.

    A text is a hub id if it looks like one and no file or folder of that name is here.
    """
    if isinstance(value, Path):
        return value.expanduser()
    path = Path(value).expanduser()
    is_id = _HUB_ID.fullmatch(value) and path.suffix not in _FILES and not path.exists()
    return value if is_id else path
