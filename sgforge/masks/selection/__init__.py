"""Which of many masks of one image to keep: pure functions on packed masks.

Masks are `PackedMasks`, or (N, H, W) booleans that are packed first. What is kept comes as ascending indices, int64;
thresholds are compared strictly, as the reference implementations do, unless a function says otherwise. The rules of
Synthetic Visual Genome are those of its published region code; where one differs, its function says how.
"""

from __future__ import annotations

from sgforge.masks.selection.agreement import Confirmed, Uncovered, confirm, uncovered
from sgforge.masks.selection.cleaning import Cleaned, clean, disjoint
from sgforge.masks.selection.merging import MergeMode, merge, without_unions
from sgforge.masks.selection.ranking import (
    at_least,
    most_salient,
    nms,
    parents,
    without_duplicates,
)

__all__ = [
    "Cleaned",
    "Confirmed",
    "MergeMode",
    "Uncovered",
    "at_least",
    "clean",
    "confirm",
    "disjoint",
    "merge",
    "most_salient",
    "nms",
    "parents",
    "uncovered",
    "without_duplicates",
    "without_unions",
]
