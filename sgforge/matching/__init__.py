"""Two graphs matched: which regions overlap, which rows agree, and who is assigned to whom."""

from __future__ import annotations

from sgforge.matching.assignment import greedy, hungarian
from sgforge.matching.graphs import RegionMatch, match_regions, match_relations, region_overlap
from sgforge.matching.joins import NEVER, equal_keys, first_hit
from sgforge.matching.localizers import BoxLocalizer, Localizer, MaskLocalizer

__all__ = [
    "NEVER",
    "BoxLocalizer",
    "Localizer",
    "MaskLocalizer",
    "RegionMatch",
    "equal_keys",
    "first_hit",
    "greedy",
    "hungarian",
    "match_regions",
    "match_relations",
    "region_overlap",
]
