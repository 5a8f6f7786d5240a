"""Texts of a Robin: regions and boxes, graphs, questions and answers. Plain Python, no framework."""

from __future__ import annotations

from sgforge_robin.text.graphs import (
    GraphText,
    ObjectText,
    RelationText,
    parse_graph,
    parse_relations,
    serialise_graph,
    serialise_relations,
)
from sgforge_robin.text.places import box_text, parse_boxes, point_text
from sgforge_robin.text.plain import attribute_texts, plain_name, plain_predicate
from sgforge_robin.text.tasks import Task, Turn

__all__ = [
    "GraphText",
    "ObjectText",
    "RelationText",
    "Task",
    "Turn",
    "attribute_texts",
    "box_text",
    "parse_boxes",
    "parse_graph",
    "parse_relations",
    "plain_name",
    "plain_predicate",
    "point_text",
    "serialise_graph",
    "serialise_relations",
]
