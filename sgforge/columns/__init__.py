"""Many images column-wise, for the dataset, bulk imports and evaluation: `GraphColumns` and its tables.

`Column` declares a further one. Names are loaded when first used, so that a plugin declares columns without numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgforge.lazy import names_from

__all__ = [
    "NO_LEVEL",
    "Column",
    "Fault",
    "GraphColumns",
    "ImageColumns",
    "Ragged",
    "RegionColumns",
    "RelationColumns",
    "Vocabularies",
]

_HOMES = {
    "NO_LEVEL": "sgforge.columns.schema",
    "Column": "sgforge.columns.declared",
    "Fault": "sgforge.columns.check",
    "GraphColumns": "sgforge.columns.graphs",
    "ImageColumns": "sgforge.columns.schema",
    "Ragged": "sgforge.columns.ragged",
    "RegionColumns": "sgforge.columns.schema",
    "RelationColumns": "sgforge.columns.schema",
    "Vocabularies": "sgforge.columns.schema",
}


__getattr__ = names_from(__name__, _HOMES)


if TYPE_CHECKING:
    from sgforge.columns.check import Fault
    from sgforge.columns.declared import Column
    from sgforge.columns.graphs import GraphColumns
    from sgforge.columns.ragged import Ragged
    from sgforge.columns.schema import NO_LEVEL, ImageColumns, RegionColumns, RelationColumns, Vocabularies
