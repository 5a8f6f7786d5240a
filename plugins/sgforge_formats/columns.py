"""The further columns that the sources of this plugin fill, and its exporters read."""

from __future__ import annotations

from typing import Final

from sgforge.columns.declared import Column

__all__ = ["ORIGIN", "POLYGONS"]

POLYGONS: Final = Column("region", "formats.polygons", "json")
"""What a region's mask was made of: a list of polygons, each x0, y0, x1, y1, ... in pixels."""

ORIGIN: Final = Column("image", "formats.origin", "json")
"""What a file says of an image that has no place in a graph, and the ids of its rows: `sgforge_formats.origin`."""
