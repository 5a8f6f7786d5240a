"""What spatial predicates mean: a vocabulary, and a degree in [0, 1] for each on boxes, masks and depth.

Teacher, filter and editor all read the same definitions here; docs/spatial.md is printed from them.
"""

from __future__ import annotations

from sgforge.spatial.degrees import degree_of, degrees
from sgforge.spatial.geometry import Geometry
from sgforge.spatial.layout import Layout
from sgforge.spatial.vocabulary import (
    VOCABULARY,
    Predicate,
    are_contradictory,
    canonical,
    inverse,
    predicate_named,
)

__all__ = [
    "VOCABULARY",
    "Geometry",
    "Layout",
    "Predicate",
    "are_contradictory",
    "canonical",
    "degree_of",
    "degrees",
    "inverse",
    "predicate_named",
]
