"""Which images of a dataset a reader takes."""

from __future__ import annotations

import attrs

__all__ = ["Selection"]


@attrs.frozen
class Selection:
    """Which images of a snapshot a reader takes: sources and splits by name; None means all.

    Failed and dropped images are never selected.
    """

    sources: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
