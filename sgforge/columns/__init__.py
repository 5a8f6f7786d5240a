"""Many images column-wise, for the dataset, bulk imports and evaluation: `GraphColumns` and its tables."""

from __future__ import annotations

from sgforge.columns.check import Fault
from sgforge.columns.graphs import GraphColumns
from sgforge.columns.ragged import Ragged
from sgforge.columns.schema import NO_LEVEL, ImageColumns, RegionColumns, RelationColumns, Vocabularies

__all__ = [
    "NO_LEVEL",
    "Fault",
    "GraphColumns",
    "ImageColumns",
    "Ragged",
    "RegionColumns",
    "RelationColumns",
    "Vocabularies",
]
