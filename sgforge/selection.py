"""Which images of a dataset a reader takes."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

__all__ = ["Selection"]


def _names(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Names as a tuple; a name alone is one of them, not its letters."""
    return None if value is None else (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen
class Selection:
    """Which images of a snapshot a reader takes: sources and splits by name; None means all.

    Failed and dropped images are never selected.
    """

    sources: tuple[str, ...] | None = attrs.field(default=None, converter=_names)
    splits: tuple[str, ...] | None = attrs.field(default=None, converter=_names)
