"""Masks: between boolean arrays, COCO run lengths, polygons and `sgforge.graph.Mask`; pixel overlaps of many masks.

Every function has a batch form that works on all masks at once. Malformed input is a `GraphError` naming the mask.
"""

from __future__ import annotations

from sgforge.masks.arrays import areas, boxes, from_array, from_arrays, to_array, to_arrays, to_crop, to_crops
from sgforge.masks.coco import (
    CocoStrings,
    from_coco,
    from_coco_batch,
    from_coco_strings,
    to_coco,
    to_coco_batch,
    to_coco_with_areas,
)
from sgforge.masks.packed import PackedMasks
from sgforge.masks.polygons import from_polygons, from_polygons_batch
from sgforge.masks.table import MaskTable, fault_text

__all__ = [
    "CocoStrings",
    "MaskTable",
    "PackedMasks",
    "areas",
    "boxes",
    "fault_text",
    "from_array",
    "from_arrays",
    "from_coco",
    "from_coco_batch",
    "from_coco_strings",
    "from_polygons",
    "from_polygons_batch",
    "to_array",
    "to_arrays",
    "to_coco",
    "to_coco_batch",
    "to_coco_with_areas",
    "to_crop",
    "to_crops",
]
