"""A scene graph as text, and back: objects and relations by the number of their region.

    Objects:
    region1: person is standing, tall
    region2: horse

    Relations:
    region1: region2 riding, region2 in front of

That is the form of the released model (its graph text of mode 2). In the detection form, where no region was given,
attributes follow " in " and a box ends each object's line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from sgforge_robin.text.places import BOX_START, Thousandths, parse_boxes
from sgforge_robin.text.plain import attribute_texts, plain_name, plain_predicate

__all__ = [
    "NOTHING",
    "GraphText",
    "ObjectText",
    "RelationText",
    "parse_graph",
    "parse_relations",
    "serialise_graph",
    "serialise_relations",
]

OBJECTS: Final = "Objects:"
RELATIONS: Final = "Relations:"
NOTHING: Final = "none"
"""The answer about a subject without relations."""
_LINE: Final = re.compile(r"region([1-9]\d{0,3}): (.*\S)")
_ITEM: Final = re.compile(r"region([1-9]\d{0,3}) (.*\S)")
_BETWEEN: Final = re.compile(r", (?=region[1-9])")
_REGION: Final = re.compile(r"region\d")


@attrs.frozen
class ObjectText:
    """One object: the number of its region (from 1), its name, attributes and, in detection, box in thousandths."""

    region: int
    name: str
    attributes: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    box: Thousandths | None = None


@attrs.frozen
class RelationText:
    """One relation between two regions, by number."""

    subject: int
    predicate: str
    object: int


@attrs.frozen
class GraphText:
    """Objects and relations in order of appearance; `dropped` counts by reason what a text held besides."""

    objects: tuple[ObjectText, ...] = attrs.field(default=(), converter=tuple)
    relations: tuple[RelationText, ...] = attrs.field(default=(), converter=tuple)
    dropped: Mapping[str, int] = attrs.field(factory=dict, converter=dict, hash=False)


def serialise_graph(graph: GraphText, detection: bool = False) -> str:
    """The graph's text; what people wrote is first made fit for it (`plain_name` and its kin).

    Relations stand by subject and object, in the order given within one pair; objects without a name are left out, and
    so are relations without a predicate.
    """
    lines = [OBJECTS]
    lines += [_object_line(item, detection) for item in graph.objects if plain_name(item.name)]
    by_subject: dict[int, list[RelationText]] = {}
    for relation in sorted(graph.relations, key=lambda one: (one.subject, one.object)):
        if plain_predicate(relation.predicate):
            by_subject.setdefault(relation.subject, []).append(relation)
    if by_subject:
        lines += ["", RELATIONS]
    lines += [f"region{subject}: {serialise_relations(items)}" for subject, items in by_subject.items()]
    return "\n".join(lines)


def serialise_relations(relations: Sequence[RelationText]) -> str:
    """The relations of one subject: `regionJ predicate, regionL predicate`."""
    return ", ".join(f"region{one.object} {plain_predicate(one.predicate)}" for one in relations)


def parse_graph(text: str, truncated: bool = False, detection: bool = False) -> GraphText:
    """What a text says, by the numbers in it; never raises.

    A line or item that is not of the form is dropped and counted: `no-objects`, `line`, `relation`, `self-relation`,
    `duplicate-object`, `duplicate-relation`, `unknown-region` (not among the objects), and, where the text was cut off
    (`truncated`), its last item as `truncated`: half a predicate is none.
    """
    dropped: Counter[str] = Counter()
    objects: dict[int, ObjectText] = {}
    found: list[RelationText] = []
    part = ""
    lines = text.split("\n")
    for place, line in enumerate(lines):
        last = truncated and place == len(lines) - 1
        if line.strip() in (OBJECTS, RELATIONS):
            part = line.strip()
        elif match := _LINE.fullmatch(line.rstrip()):
            number, rest = int(match[1]), match[2]
            if part == OBJECTS:
                _take_object(objects, number, rest, last, detection, dropped)
            elif part == RELATIONS:
                found += _items(number, rest, last, dropped)
            else:
                dropped["line"] += 1
        elif line.strip():
            dropped["truncated" if last else "line"] += 1
    if OBJECTS not in (line.strip() for line in lines):
        dropped["no-objects"] += 1
    return GraphText(tuple(objects.values()), _known(found, objects, dropped), dict(dropped))


def parse_relations(text: str, subject: int, regions: int, truncated: bool = False) -> GraphText:
    """The relations that an answer about one subject lists; `regions`: how many regions there are.

    Dropped and counted as in `parse_graph`.
    """
    dropped: Counter[str] = Counter()
    found: list[RelationText] = []
    lines = [line for line in text.split("\n") if line.strip() not in ("", NOTHING)]
    for place, line in enumerate(lines):
        found += _items(subject, line.strip(), truncated and place == len(lines) - 1, dropped)
    return GraphText((), _known(found, range(1, regions + 1), dropped), dict(dropped))


def _object_line(item: ObjectText, detection: bool) -> str:
    attributes = ", ".join(attribute_texts(item.attributes))
    join = " in " if detection else " is "
    line = f"region{item.region}: {plain_name(item.name)}{join + attributes if attributes else ''}"
    if not detection or item.box is None:
        return line
    x0, y0, x1, y1 = item.box
    return f"{line} {BOX_START}({x0},{y0}),({x1},{y1})<|box_end|>"


def _take_object(
    objects: dict[int, ObjectText], number: int, rest: str, last: bool, detection: bool, dropped: Counter[str]
) -> None:
    """Read one object's line."""
    said, start, places = rest.partition(BOX_START)
    boxes = parse_boxes(start + places) if start else ()
    name, _, attributes = said.strip().partition(" in " if detection else " is ")
    if last:
        dropped["truncated"] += 1
    elif number in objects:
        dropped["duplicate-object"] += 1
    elif not name:
        dropped["line"] += 1
    else:
        objects[number] = ObjectText(number, name, attribute_texts([attributes]), boxes[0] if boxes else None)


def _items(subject: int, rest: str, last: bool, dropped: Counter[str]) -> Iterable[RelationText]:
    """The relations of one subject's line."""
    items = _BETWEEN.split(rest)
    if last:
        items.pop()
        dropped["truncated"] += 1
    for item in items:
        match = _ITEM.fullmatch(item.rstrip())
        if match is None or _REGION.search(match[2]):
            dropped["relation"] += 1
        else:
            yield RelationText(subject, match[2], int(match[1]))


def _known(found: Sequence[RelationText], regions: Iterable[int], dropped: Counter[str]) -> tuple[RelationText, ...]:
    """Those between two known regions, each once."""
    known, kept = set(regions), dict[RelationText, None]()
    for relation in found:
        if relation.subject == relation.object:
            dropped["self-relation"] += 1
        elif not {relation.subject, relation.object} <= known:
            dropped["unknown-region"] += 1
        elif relation in kept:
            dropped["duplicate-relation"] += 1
        else:
            kept[relation] = None
    return tuple(kept)
