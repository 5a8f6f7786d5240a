"""Edits as text, one a line: what was changed in which state of an image, to be kept, shared and done again.

    {"image_id": "142238", "state": "9f..", "before": {"regions": 3, "relations": 2},
     "named": {"regions": {"0": ["cup", [3, 4, 30, 40]]}, "relations": {"1": [["cup", [..]], "on", ["table", [..]]]}},
     "relations": [{"subject": 0, "predicate": "in front of", "object": 2}],
     "verdicts": [{"target": "relation", "index": 1, "status": "rejected", "reason": "wrong"}],
     "sets": [{"target": "region", "index": 0, "field": "label", "value": "mug"}], "drop": "blurred",
     "values": [{"target": "region", "index": 0, "column": "shop.price", "kind": "f4", "shape": [], "value": 2.5}],
     "image": {"uri": "files:9f/9f...png", "sha256": "9f...", "width": 640, "height": 480}}

`before`, `named`, and what was changed may be left out where there is nothing to say. Rows that are added have the
indices behind `before`. `named` says by label, box and predicate what stood at the indices that the edit names, so that
the edit can be rebased onto a graph whose rows have moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from sgforge import masks as masks_
from sgforge.edits import Edit, FieldSet, Target, Verdict, joined_as_one
from sgforge.errors import GraphError
from sgforge.graph import ImageRef, Mask, Region, Relation, SceneGraph
from sgforge.graph.state import RegionName, RelationName, graph_state, region_name, relation_names
from sgforge.jsonl.files import numbered_lines
from sgforge.jsonl.further import value_of_row, value_row
from sgforge.jsonl.objects import decode_line, region_rows, relation_rows, shown_json

__all__ = ["EditLine", "Stale", "dump_edit", "load_edits", "rebase"]

_KEYS: Final = frozenset(
    {
        *("image_id", "state", "before", "named", "regions", "relations", "verdicts", "sets"),
        *("values", "image", "drop"),
    }
)


@attrs.frozen
class EditLine:
    """One edit as it was read: what it changes, and in what state of the image.

    `regions`, `relations`: rows of either kind before it. `named_regions`, `named_relations`: what stood at the indices
    that it names. `where`: file and line, `text`: the line itself.
    """

    image_id: str
    state: str
    edit: Edit
    regions: int
    relations: int
    named_regions: Mapping[int, RegionName]
    named_relations: Mapping[int, RelationName]
    where: str
    text: bytes


@attrs.frozen
class Stale:
    """An edit that no longer fits its image: what has changed, a sentence each."""

    line: EditLine
    changes: tuple[str, ...]


def dump_edit(image_id: str, graph: SceneGraph, edit: Edit) -> bytes:
    """One line for an edit that was made for `graph`, UTF-8, with the line break."""
    rows = graph.all
    edit = joined_as_one(edit, len(rows.regions), len(rows.relations))
    named = _named_rows(graph, edit)
    data: dict[str, Any] = {
        "image_id": image_id,
        "state": graph_state(graph),
        "before": {"regions": len(rows.regions), "relations": len(rows.relations)},
        "named": named,
        "regions": list(region_rows(edit.regions)),
        "relations": list(relation_rows(edit.relations)),
        "verdicts": [attrs.asdict(verdict) for verdict in edit.verdicts],
        "sets": [{**attrs.asdict(item, recurse=False), "value": _as_json(item.value)} for item in edit.sets],
        "values": [value_row(value) for value in edit.values],
        "image": None if edit.image is None else attrs.asdict(edit.image),
        "drop": edit.dropped,
    }
    try:
        return shown_json(orjson.dumps({key: value for key, value in data.items() if value}, option=_LINE))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise GraphError(f"the edit of image {image_id!r} cannot be written as JSON: {error}") from None


_LINE: Final = orjson.OPT_APPEND_NEWLINE


def load_edits(path: Path | str) -> tuple[EditLine, ...]:
    """The edits of a file, in order; a line that is none is a `GraphError` naming file, line and what is wrong."""
    name = Path(path).name
    return tuple(_line(text, f"{name}:{number}") for number, text in numbered_lines(path))


def rebase(line: EditLine, graph: SceneGraph) -> Edit | Stale:
    """The edit of a line for `graph`: as it stands in the state it was made for, else by the rows that it names.

    Named rows that stand elsewhere now are followed, if it is clear which they are; rows that it adds are counted on
    from there. Where a row is gone, or several look like it, the edit is `Stale`.
    """
    if line.state == graph_state(graph):
        return line.edit
    rows = graph.all
    regions = _Moved([region_name(region) for region in rows.regions], line.regions, line.named_regions, "region")
    relations = _Moved(relation_names(graph), line.relations, line.named_relations, "relation")
    for target, index in _mentioned(line.edit):
        (regions if target == "region" else relations).follow(index)
    changes = (*regions.changes, *relations.changes)
    return Stale(line, changes) if changes else _renumbered(line.edit, regions, relations)


def _mentioned(edit: Edit) -> Iterator[tuple[Target, int]]:
    """Every row that an edit names by its index, rows that it adds included."""
    for region in edit.regions:
        if region.parent is not None:
            yield "region", region.parent
    for relation in edit.relations:
        yield "region", relation.subject
        yield "region", relation.object
    yield from ((verdict.target, verdict.index) for verdict in edit.verdicts)
    for item in edit.sets:
        yield item.target, item.index
        if item.named is not None:
            yield "region", item.named
    yield from ((item.target, item.index) for item in edit.values if item.target != "image" and item.index is not None)


def _named_rows(graph: SceneGraph, edit: Edit) -> dict[str, dict[str, Any]]:
    rows = graph.all
    regions, relations = [region_name(region) for region in rows.regions], relation_names(graph)
    named: dict[str, dict[str, Any]] = {"regions": {}, "relations": {}}
    for target, index in _mentioned(edit):
        names: list[Any] = regions if target == "region" else relations
        if index < len(names):
            named[f"{target}s"][str(index)] = names[index]
    return {kind: found for kind, found in named.items() if found}


class _Moved:
    """Where the rows of one kind stand now, that an edit knew by other indices."""

    def __init__(self, names: list[Any], before: int, named: Mapping[int, Any], kind: str) -> None:
        self._names = names
        self._before = before
        self._named = named
        self._kind = kind
        self._place: dict[int, int] = {}
        self._looked_for: set[int] = set()
        self.changes: list[str] = []

    def follow(self, index: int) -> None:
        """Find the row that was at `index`; what stands in the way is noted."""
        if index >= self._before or index in self._looked_for:
            return
        self._looked_for.add(index)
        if index not in self._named:
            self.changes.append(f"{self._kind} {index} cannot be followed: the line does not say what it was")
            return
        name = self._named[index]
        if index < len(self._names) and self._names[index] == name:
            self._place[index] = index
            return
        found = [place for place, other in enumerate(self._names) if other == name]
        if len(found) == 1:
            self._place[index] = found[0]
            return
        what = f"{self._kind} {index}, {_told(name)}"
        self.changes.append(f"{what}, is gone" if not found else f"{what}, is one of {len(found)} that look like it")

    def now(self, index: int) -> int:
        """The index today of a row that was at `index`, or that the edit adds."""
        return self._place[index] if index < self._before else index - self._before + len(self._names)


def _told(name: Any) -> str:
    """The name of a row in words."""
    if len(name) == 3:
        return f"{_told(name[0])} {name[1]} {_told(name[2])}"
    label, box = name
    place = "" if box is None else f" at ({', '.join(f'{side:g}' for side in box)})"
    return f"{label or 'no label'}{place}"


def _renumbered(edit: Edit, regions: _Moved, relations: _Moved) -> Edit:
    moved = {"region": regions, "relation": relations}
    return attrs.evolve(
        edit,
        regions=[
            region if region.parent is None else attrs.evolve(region, parent=regions.now(region.parent))
            for region in edit.regions
        ],
        relations=[
            attrs.evolve(row, subject=regions.now(row.subject), object=regions.now(row.object))
            for row in edit.relations
        ],
        verdicts=[attrs.evolve(item, index=moved[item.target].now(item.index)) for item in edit.verdicts],
        sets=[
            attrs.evolve(
                item,
                index=moved[item.target].now(item.index),
                value=item.value if item.named is None else regions.now(item.named),
            )
            for item in edit.sets
        ],
        values=[
            item if item.index is None else attrs.evolve(item, index=moved[item.target].now(item.index))
            for item in edit.values
        ],
    )


def _as_json(value: Any) -> Any:
    if isinstance(value, Mask):
        return {"size": [value.height, value.width], "counts": masks_.to_coco(value).decode("ascii")}
    return list(value) if isinstance(value, tuple) else value


def _line(text: bytes, where: str) -> EditLine:
    data = decode_line(text, where)
    try:
        return _parse(data, where, text)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphError(f"{where}: no edit: {type(error).__name__}: {error}") from None


def _parse(data: Any, where: str, text: bytes) -> EditLine:
    if not isinstance(data, dict):
        raise GraphError(f"a line is an object, not {type(data).__name__}")
    if unknown := sorted(set(data) - _KEYS):
        raise GraphError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
    for key in ("image_id", "state"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise GraphError(f"{key} must be a text")
    before, named = data.get("before") or {}, data.get("named") or {}
    edit = Edit(
        regions=[_region(row) for row in data.get("regions") or ()],
        relations=[Relation(**row) for row in data.get("relations") or ()],
        verdicts=[Verdict(**row) for row in data.get("verdicts") or ()],
        sets=[FieldSet(**{**row, "value": _value(row["field"], row["value"])}) for row in data.get("sets") or ()],
        values=[value_of_row(row) for row in data.get("values") or ()],
        image=None if data.get("image") is None else ImageRef(**data["image"]),
        dropped=data.get("drop"),
    )
    return EditLine(
        image_id=data["image_id"],
        state=data["state"],
        edit=edit,
        regions=_count(before, "regions"),
        relations=_count(before, "relations"),
        named_regions={int(index): _as_region_name(name) for index, name in (named.get("regions") or {}).items()},
        named_relations={
            int(index): (_as_region_name(name[0]), str(name[1]), _as_region_name(name[2]))
            for index, name in (named.get("relations") or {}).items()
        },
        where=where,
        text=text,
    )


def _count(before: Mapping[str, Any], key: str) -> int:
    count = before.get(key, 0)
    if type(count) is not int or count < 0:
        raise GraphError(f"before.{key} must be a whole number, not {count!r}")
    return count


def _as_region_name(name: Any) -> RegionName:
    label, box = name
    return label, None if box is None else Region(box=box).box


def _region(row: Mapping[str, Any]) -> Region:
    return Region(**{**row, "mask": None if row.get("mask") is None else _value("mask", row["mask"])})


def _value(field: str, value: Any) -> Any:
    """The value of a set field as a graph holds it."""
    if field != "mask" or value is None:
        return value
    height, width = value["size"]
    return masks_.from_coco(value["counts"], height, width)
