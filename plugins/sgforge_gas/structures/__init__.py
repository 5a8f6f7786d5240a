"""Structures: which objects are related to which, and how many attributes each has, without any word.

A structure is a directed graph over objects with a number of attributes for each object; two that differ only in the
order of objects are one (non-isomorphic structures). Its complexity is objects + relations + attributes (Generate Any
Scene, section 3). By default relations form a simple directed acyclic graph, as in the paper.
"""

from __future__ import annotations

from sgforge_gas.structures.constraints import Constraints, Span
from sgforge_gas.structures.drawing import Drawer, Prior
from sgforge_gas.structures.shape import Structure
from sgforge_gas.structures.table import TABLE_COMPLEXITY, Table, table

__all__ = ["TABLE_COMPLEXITY", "Constraints", "Drawer", "Prior", "Span", "Structure", "Table", "table"]
