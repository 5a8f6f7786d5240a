"""A graph as R1-SGG says it: {"objects": [{"id": "man.1", "bbox": [x0, y0, x1, y1]}], "relationships": [{...}]}.

An object's label is its id without the number; a relationship names two ids and a predicate (Chen et al. 2025).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from sgforge.graph import Sample
from sgforge.text.wording import shortened
from sgforge_formats.origin import Origin
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.reading.numbers import read_number
from sgforge_formats.writing.holding import Held, plain_xyxy

__all__ = ["add_graph", "graph_of_text", "json_graph", "label_of"]

_NUMBERED: Final = re.compile(r"(.+)\.[0-9]+")
_ANSWER: Final = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_FENCE: Final = re.compile(r"```(?:json)?")


def graph_of_text(text: str) -> Mapping[str, Any] | None:
    """The graph that a text is, alone, in a fence or between <answer> tags; None for any other text."""
    found = _ANSWER.search(text)
    plain = _FENCE.sub("", found[1] if found else text).strip()
    if not plain.startswith("{"):
        return None
    try:
        value = json.loads(plain)
    except (ValueError, RecursionError):
        return None
    is_graph = isinstance(value, dict) and isinstance(value.get("objects"), list)
    return value if is_graph and all(isinstance(one, dict) for one in value["objects"]) else None


def label_of(key: str) -> str:
    """The label of an object's id."""
    found = _NUMBERED.fullmatch(key)
    return found[1] if found else key


def add_graph(builder: GraphBuilder, objects: Any, relationships: Any, item: str) -> None:
    """The objects and relationships of such a graph; what cannot be used is a fault."""
    for name, rows in (("objects", objects), ("relationships", relationships)):
        if rows is not None and not isinstance(rows, list):
            builder.fault("bad-graph", f"{name} must be a list, not {shortened(rows)}", item)
    for position, row in enumerate(objects if isinstance(objects, list) else ()):
        where = f"{item}objects[{position}]"
        key = row.get("id") if isinstance(row, dict) else None
        if not isinstance(key, str) or not key:
            builder.fault("bad-object", f"an object needs an id, a text, not {shortened(row)}", where)
            continue
        box = row.get("bbox")
        numbers = [read_number(one) for one in box] if isinstance(box, list) else []
        corners = None if box is None else numbers if None not in numbers and len(numbers) == len("xyxy") else [box]
        index = builder.region(key, label_of(key), corners, where)
        builder.attributes(index, row.get("attributes"), where)
    for position, row in enumerate(relationships if isinstance(relationships, list) else ()):
        where = f"{item}relationships[{position}]"
        if not isinstance(row, dict):
            builder.fault("bad-relation", f"a relationship must be an object, not {shortened(row)}", where)
            continue
        ends = [_end(builder, row.get(side)) for side in ("subject", "object")]
        builder.relate(ends[0], row.get("predicate"), ends[1], where)


def _end(builder: GraphBuilder, key: Any) -> int | None:
    return builder.index_of(key) if isinstance(key, str) else None


def json_graph(sample: Sample, rows: Held) -> dict[str, Any]:
    """The graph of what is written of a sample; ids as they were read where they still fit their labels."""
    origin = Origin.of(sample)
    boxes = dict(zip(rows.boxes, plain_xyxy(list(rows.boxes.values())), strict=True))
    ids: dict[int, str] = {}
    used: set[str] = set()
    numbers: Counter[str] = Counter()
    for index, region in rows.regions.items():
        given, label = origin.region_id(index), region.label or ""
        if isinstance(given, str) and label_of(given) == label and given not in used:
            ids[index] = given
            used.add(given)
    for index, region in rows.regions.items():
        while index not in ids:
            numbers[region.label or ""] += 1
            key = f"{region.label}.{numbers[region.label or '']}"
            if key not in used:
                ids[index] = key
                used.add(key)
    objects = [{"id": ids[index], **({"bbox": boxes[index]} if index in boxes else {})} for index in rows.regions]
    relationships = [
        {"subject": ids[one.subject], "predicate": one.predicate, "object": ids[one.object]}
        for one in rows.relations.values()
    ]
    return {"objects": objects, "relationships": relationships}
