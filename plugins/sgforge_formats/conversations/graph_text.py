"""A graph as Robin says it, by the numbers of regions that were shown:

Objects:
region1: person is standing, tall
region2: horse

Relations:
region1: region2 riding, region2 in front of
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.writing.holding import Held

__all__ = ["SaidGraph", "add_said", "parse_said", "said_graph"]

_HEAD: Final = "Objects:"
_RELATIONS: Final = "Relations:"
_LINE: Final = re.compile(r"region([1-9][0-9]{0,3}):\s*(.*\S)")
_ITEM: Final = re.compile(r"region([1-9][0-9]{0,3}) (.*\S)")
_BETWEEN: Final = re.compile(r", (?=region[1-9])")


@attrs.frozen
class SaidGraph:
    """`objects`: name and attributes by number of the region, from 1; `relations`: subject, predicate, object;
    `unread`: lines that say neither."""

    objects: Mapping[int, tuple[str, Sequence[str]]]
    relations: Sequence[tuple[int, str, int]]
    unread: Sequence[str]


def parse_said(text: str) -> SaidGraph | None:
    """The graph that a text says; None for one that does not begin as such a graph does."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if lines[:1] != [_HEAD]:
        return None
    objects: dict[int, tuple[str, Sequence[str]]] = {}
    relations: list[tuple[int, str, int]] = []
    unread = []
    is_relation = False
    for line in lines[1:]:
        found = _LINE.fullmatch(line)
        if line == _RELATIONS:
            is_relation = True
        elif found is None:
            unread.append(line)
        elif is_relation:
            for part in _BETWEEN.split(found[2]):
                said = _ITEM.fullmatch(part)
                if said is None:
                    unread.append(part)
                else:
                    relations.append((int(found[1]), said[2], int(said[1])))
        else:
            name, _, more = found[2].partition(" is ")
            objects.setdefault(int(found[1]), (name, [one for one in more.split(", ") if one]))
    return SaidGraph(objects, relations, unread)


def add_said(builder: GraphBuilder, graph: SaidGraph, shown: int, item: str) -> None:
    """Names, attributes and relations of the regions that were `shown`; those of no region are faults."""
    for number, (name, attributes) in graph.objects.items():
        if number > shown:
            builder.fault("unknown-object", f"region{number} is not shown", item)
            continue
        builder.rename(number - 1, name, item)
        builder.attributes(number - 1, list(attributes), item)
    for subject, predicate, other in graph.relations:
        ends = [number - 1 if number <= shown else None for number in (subject, other)]
        builder.relate(ends[0], predicate, ends[1], item)
    for line in graph.unread:
        builder.fault("bad-graph", f"{line[:80]!r} says neither an object nor its relations", item)


def said_graph(rows: Held) -> str:
    """The text of what is written of a sample, regions numbered from 1 in their order."""
    lines = [_HEAD]
    for index, region in rows.regions.items():
        more = f" is {', '.join(region.attributes)}" if region.attributes else ""
        lines.append(f"region{rows.numbers[index] + 1}: {region.label}{more}")
    said: dict[int, list[str]] = {}
    for one in rows.relations.values():
        said.setdefault(rows.numbers[one.subject] + 1, []).append(
            f"region{rows.numbers[one.object] + 1} {one.predicate}"
        )
    lines += ["", _RELATIONS, *(f"region{number}: {', '.join(parts)}" for number, parts in sorted(said.items()))]
    return "\n".join(lines)
