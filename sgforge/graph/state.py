"""What a graph says, as one digest: the same rows give the same state, whatever steps made them."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeAlias

from sgforge.graph.rows import Region
from sgforge.graph.scene import SceneGraph

__all__ = ["RegionName", "RelationName", "graph_state", "region_name", "relation_names"]

RegionName: TypeAlias = tuple[str | None, tuple[float, float, float, float] | None]
"""Label and box of a region, by which it is known again where its index has changed; a mask's box stands for it."""
RelationName: TypeAlias = tuple[RegionName, str, RegionName]


def region_name(region: Region) -> RegionName:
    """What a region is known by."""
    return region.label, region.box or (region.mask.box if region.mask is not None else None)


def relation_names(graph: SceneGraph) -> list[RelationName]:
    """What each relation of a graph is known by: its two regions and its predicate."""
    regions = [region_name(region) for region in graph.all.regions]
    return [(regions[row.subject], row.predicate, regions[row.object]) for row in graph.all.relations]


def graph_state(graph: SceneGraph) -> str:
    """32 hex digits over labels, boxes, triplets and status of all rows, in their order; not over who made them."""
    rows: list[Any] = [[*region_name(region), region.status] for region in graph.all.regions]
    rows += [[row.subject, row.predicate, row.object, row.status] for row in graph.all.relations]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
