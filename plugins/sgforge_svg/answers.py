"""Reading a model's answer item by item: one bad item costs that item, counted under its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from sgforge.edits import Edit
from sgforge.graph import CATEGORIES, Relation
from sgforge_svg.view import View, clean_text

__all__ = ["FAULTS", "Reader", "read_completion"]

FAULTS: Final[Mapping[str, str]] = {
    "not-an-object": "an item that is not what the schema asks for",
    "unknown-region": "a region number that was not shown",
    "self-relation": "a region related to itself",
    "duplicate": "a triplet given twice in the answer",
    "repeats-known": "a known relation given again",
    "empty-predicate": "a predicate without text",
    "long-predicate": "a predicate of too many words",
    "wrong-category": "a category outside the five",
    "too-many-relations": "relations of one subject beyond the limit",
    "too-many-additions": "added relations beyond the limit",
    "too-few-subjects": "subjects missing to the number asked for",
    "regions-not-shown": "regions left out of the prompt because there are too many",
    "unknown-relation": "a relation number that was not given",
    "unknown-reason": "a removal without a reason of the closed list",
    "empty-text": "a description or attribute without text",
    "not-removable": "a removal of a relation that the source gave",
}
"""Reason codes of faults, with what they mean."""


class Reader:
    """Turns items of an answer into values of a graph, counting what cannot be used."""

    def __init__(self, view: View, max_predicate_words: int) -> None:
        self.view = view
        self.faults: Counter[str] = Counter()
        self._indices = view.indices
        self._max_words = max_predicate_words
        self._known = {row.triplet for row in view.sample.graph.relations.values()}
        self._seen: set[tuple[int, str, int]] = set()
        if view.hidden:
            self.faults["regions-not-shown"] += view.hidden

    def fault(self, reason: str, count: int = 1) -> None:
        """Count one fault."""
        assert reason in FAULTS, reason
        self.faults[reason] += count

    def items(self, answer: Any, key: str) -> Iterator[Mapping[str, Any]]:
        """The objects in the list `answer[key]`; anything else is a fault."""
        rows = answer.get(key, []) if isinstance(answer, Mapping) else None
        if not isinstance(rows, list):
            self.fault("not-an-object")
            return
        for row in rows:
            if isinstance(row, Mapping):
                yield row
            else:
                self.fault("not-an-object")

    def region(self, number: Any) -> int | None:
        """The index of region `number`; None, counted, if it was not shown."""
        index = self._indices.get(number) if isinstance(number, int) and not isinstance(number, bool) else None
        if index is None:
            self.fault("unknown-region")
        return index

    def texts(self, values: Any) -> tuple[str, ...]:
        """Clean, non-empty, distinct texts of a list; the others are counted."""
        texts: dict[str, None] = {}
        for value in values if isinstance(values, list) else [values]:
            text = clean_text(value) if isinstance(value, str) else ""
            if text:
                texts[text] = None
            else:
                self.fault("empty-text")
        return tuple(texts)

    def relation(self, subject: int, item: Mapping[str, Any]) -> Relation | None:
        """The relation of one item; None, counted, if it cannot stand."""
        target = self.region(item.get("object"))
        if target is None:
            return None
        predicate = clean_text(item["predicate"]).lower() if isinstance(item.get("predicate"), str) else ""
        category = item.get("category")
        fault = self._relation_fault(subject, predicate, target, category)
        if fault is not None:
            self.fault(fault)
            return None
        self._seen.add((subject, predicate, target))
        return Relation(subject, predicate, target, category)  # type: ignore[arg-type]

    def _relation_fault(self, subject: int, predicate: str, target: int, category: Any) -> str | None:
        triplet = (subject, predicate, target)
        checks: Sequence[tuple[str, bool]] = (
            ("self-relation", subject == target),
            ("empty-predicate", not predicate),
            ("long-predicate", len(predicate.split()) > self._max_words),
            ("wrong-category", category not in CATEGORIES or category == "unknown"),
            ("duplicate", triplet in self._seen),
            ("repeats-known", triplet in self._known),
        )
        return next((reason for reason, bad in checks if bad), None)


@attrs.frozen
class _Limits:
    subjects: int
    relations_per_subject: int


def read_completion(
    view: View, answer: Any, *, subjects: int, relations_per_subject: int, max_predicate_words: int
) -> Edit:
    """The Edit that a completion answer amounts to; never raises for what a model wrote."""
    reader = Reader(view, max_predicate_words)
    limits = _Limits(subjects, relations_per_subject)
    edits: list[Edit] = []
    described: set[int] = set()
    for item in reader.items(answer, "subjects"):
        index = reader.region(item.get("region"))
        if index is None:
            continue
        described.add(index)
        edits.append(_read_subject(reader, index, item, limits))
    wanted = min(subjects, len(view.regions))
    if len(described) < wanted:
        reader.fault("too-few-subjects", wanted - len(described))
    return attrs.evolve(Edit.sum(edits), faults=dict(reader.faults))


def _read_subject(reader: Reader, index: int, item: Mapping[str, Any], limits: _Limits) -> Edit:
    region = reader.view.regions[index]
    relations: list[Relation] = []
    for row in reader.items(item, "relations"):
        relation = reader.relation(index, row)
        if relation is None:
            continue
        if len(relations) == limits.relations_per_subject:
            reader.fault("too-many-relations")
            continue
        relations.append(relation)
    edit = Edit.add(*relations)
    new = [text for text in reader.texts(item.get("description")) if text not in region.descriptions]
    if new:
        edit = edit + Edit.set("region", index, descriptions=(*region.descriptions, *new))
    return edit
