"""What the commands that print a dataset share: JSON, counts and sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from sgforge.text.wording import counted

__all__ = ["json_text", "rows_counted", "sized"]


def rows_counted(counts: Mapping[str, int]) -> str:
    """`1 image, 18 regions, 38 relations`: what a version holds."""
    return ", ".join(counted(counts[name], name.removesuffix("s")) for name in ("images", "regions", "relations"))


def sized(count: int) -> str:
    """Bytes for people: `812 bytes`, `3.4 MB`, `1.2 GB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return counted(count, "byte")


def json_text(value: Any) -> str:
    """A value as JSON; attrs classes become objects."""
    return json.dumps(value, indent=2, ensure_ascii=True, default=_plain)


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return attrs.asdict(value, recurse=False)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return dict(value)
