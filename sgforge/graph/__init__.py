"""The values of a scene graph: Mask, Region, Relation, SceneGraph, Sample; frozen, validated when built.

Rows are only appended, so an index into a graph's regions or relations is an identity within its lineage. Boxes are
xyxy in absolute pixels, rounded to float32 when a value is built, so that every round trip is exact.
"""

from __future__ import annotations

from sgforge.graph.checks import CATEGORIES, KEPT, REJECTED, Box, Category, Status, to_float32
from sgforge.graph.rows import Mask, Region, Relation
from sgforge.graph.scene import Rows, Sample, SceneGraph

__all__ = [
    "CATEGORIES",
    "KEPT",
    "REJECTED",
    "Box",
    "Category",
    "Mask",
    "Region",
    "Relation",
    "Rows",
    "Sample",
    "SceneGraph",
    "Status",
    "to_float32",
]
