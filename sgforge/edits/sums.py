"""A sum of edits as one edit: what each names among its own rows is counted on behind those of the others."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TypeVar

import attrs

from sgforge.edits.edit import Edit, Part
from sgforge.edits.items import FieldSet, Target, Value, Verdict
from sgforge.errors import GraphError
from sgforge.graph import Region, Relation

__all__ = ["Named", "joined_as_one"]


def joined_as_one(edit: Edit, regions: int, relations: int) -> Edit:
    """A sum of edits as one edit without parts, for a graph of this many rows before it (rejected ones included).

    What an edit of the sum names among its own rows is counted on behind the rows that earlier edits add. A name of
    which it cannot be known whose row it is, is a `GraphError`.
    """
    if not edit.parts:
        return edit
    by_region = _Places(edit.parts, "region", regions)
    by_relation = _Places(edit.parts, "relation", relations)
    if by_region.are_one and by_relation.are_one:
        return attrs.evolve(edit, parts=())
    places = {"region": by_region, "relation": by_relation}
    region_parts, relation_parts = _owners(edit.parts, "regions"), _owners(edit.parts, "relations")
    verdict_parts, set_parts = _owners(edit.parts, "verdicts"), _owners(edit.parts, "sets")
    value_parts = _owners(edit.parts, "values")
    return attrs.evolve(
        edit,
        regions=[by_region.of_parent(*pair) for pair in zip(edit.regions, region_parts, strict=True)],
        relations=[by_region.of_ends(*pair) for pair in zip(edit.relations, relation_parts, strict=True)],
        verdicts=[_renumbered(item, places, part) for item, part in zip(edit.verdicts, verdict_parts, strict=True)],
        sets=[
            by_region.of_value(_renumbered(item, places, part), part)
            for item, part in zip(edit.sets, set_parts, strict=True)
        ],
        values=[_renumbered(item, places, part) for item, part in zip(edit.values, value_parts, strict=True)],
        parts=(),
    )


def _owners(parts: tuple[Part, ...], what: str) -> list[int]:
    """The number of the part of each row, verdict, set or value of a sum."""
    return [number for number, part in enumerate(parts) for _ in range(getattr(part, what))]


Named = TypeVar("Named", Verdict, FieldSet, Value)


def _renumbered(item: Named, places: Mapping[str, _Places], part: int) -> Named:
    if item.index is None:
        return item
    index = places[item.target].of(item.index, part)
    return item if index == item.index else attrs.evolve(item, index=index)


class _Places:
    """Where the rows of one kind that each part of a sum adds come to stand."""

    def __init__(self, parts: tuple[Part, ...], kind: Target, before: int) -> None:
        self._kind = kind
        self._before = before
        self._added = [part.regions if kind == "region" else part.relations for part in parts]
        self._first = list(accumulate(self._added, initial=0))
        self.are_one = sum(count > 0 for count in self._added) < 2
        """Whether one part at most adds rows: then every index is right as it stands."""

    def of(self, index: int, part: int) -> int:
        """The index in the sum of what the part calls `index`."""
        if self.are_one or index < self._before:
            return index
        if index >= self._before + self._added[part]:
            raise GraphError(
                f"an edit of a sum names {self._kind} {index}, which it does not add: the graph has {self._before} and "
                f"the edit adds {self._added[part]}; add a row and what names it in one edit"
            )
        return index + self._first[part]

    def of_parent(self, region: Region, part: int) -> Region:
        parent = region.parent
        if parent is None or self.of(parent, part) == parent:
            return region
        return attrs.evolve(region, parent=self.of(parent, part))

    def of_value(self, item: FieldSet, part: int) -> FieldSet:
        """A set whose value names a region."""
        if item.named is None or self.of(item.named, part) == item.named:
            return item
        return attrs.evolve(item, value=self.of(item.named, part))

    def of_ends(self, relation: Relation, part: int) -> Relation:
        subject, target = self.of(relation.subject, part), self.of(relation.object, part)
        if (subject, target) == (relation.subject, relation.object):
            return relation
        return attrs.evolve(relation, subject=subject, object=target)
