"""The values of a scene graph: Mask, Region, Relation, SceneGraph, Sample; frozen, validated when built.

Beside them Caption and Question, numbers of further columns, and references to files that a step made.

Rows are only appended, so an index into a graph's regions or relations is an identity within its lineage. Boxes are
xyxy in absolute pixels, rounded to float32 when a value is built, so that every round trip is exact.
"""

from __future__ import annotations

from sgforge.file_refs import FILES_ROOT, FileRef, ImageRef
from sgforge.graph.checks import CATEGORIES, KEPT, REJECTED, Box, Category, Status, to_float32
from sgforge.graph.language import Caption, Question, Span
from sgforge.graph.rows import Mask, Region, Relation
from sgforge.graph.scene import DeferredRows, Rows, Sample, SceneGraph
from sgforge.graph.values import NumberArray, Values

__all__ = [
    "CATEGORIES",
    "FILES_ROOT",
    "KEPT",
    "REJECTED",
    "Box",
    "Caption",
    "Category",
    "DeferredRows",
    "FileRef",
    "ImageRef",
    "Mask",
    "NumberArray",
    "Question",
    "Region",
    "Relation",
    "Rows",
    "Sample",
    "SceneGraph",
    "Span",
    "Status",
    "Values",
    "to_float32",
]
