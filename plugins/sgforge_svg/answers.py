"""Reading a model's answer item by item: one bad item costs that item, counted under its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from sgforge.edits import Edit
from sgforge.graph import CATEGORIES, Relation
from sgforge.models import ChatResponse
from sgforge.spatial import canonical
from sgforge_svg.view import View, clean_text

Meaning: TypeAlias = tuple[int, str, int]

__all__ = ["FAULTS", "Reader", "meaning_of", "read_completion", "told_with"]

FAULTS: Final[Mapping[str, str]] = {
    "not-an-object": "an item that is not what the schema asks for",
    "unknown-region": "a region number that was not shown",
    "self-relation": "a region related to itself",
    "duplicate": "a relation, removal or text that the answer gives twice, if only in other words",
    "repeats-known": "a known relation given again, if only in other words or from the other side",
    "empty-predicate": "a predicate without text",
    "long-predicate": "a predicate of too many words",
    "wrong-category": "a category outside the five",
    "too-many-relations": "relations of one subject beyond the limit",
    "too-many-additions": "added relations beyond the limit",
    "too-few-subjects": "subjects missing to the number asked for",
    "regions-not-shown": "regions left out of the prompt because there are too many",
    "unknown-relation": "a relation number that was not given",
    "unknown-reason": "a removal without a reason of the closed list",
    "empty-text": "a label, description or attribute without text",
    "not-asked": "a name for a region that was shown but not asked about",
    "long-label": "a label of too many words",
    "too-many-attributes": "attributes of one region beyond the limit",
    "unnamed": "a region that was asked about and got no name",
    "too-many-nouns": "nouns of one image beyond the limit",
    "no-nouns": "an image of which nothing was named",
    "mended": "a place where an answer was not quite what was asked for, and what was meant was plain",
    "clash": "items that give one number to two, of which nobody knows which is meant",
    "cut-off": "an answer that ends in the middle: its whole items are taken",
    "read-elsewhere": "an answer that did not stand in its content, but in a tool call or among the reasoning",
}
"""Reason codes of faults, with what they mean."""


_DROPPED: Final[Mapping[str, str]] = {
    "subject": "unknown-region",
    "object": "unknown-region",
    "region": "unknown-region",
    "relation": "unknown-relation",
    "category": "wrong-category",
    "reason": "unknown-reason",
    "predicate": "empty-predicate",
    "description": "empty-text",
    "attributes": "empty-text",
    "label": "empty-text",
    "clash": "clash",
}
"""Reason codes of what the gateway left out, by what was wrong with it."""


def told_with(edit: Edit, response: ChatResponse) -> Edit:
    """The Edit with the faults too that were found, and the places that were mended, before it was read."""
    faults = Counter(edit.faults)
    for name, count in response.dropped.items():
        faults[_DROPPED.get(name, "not-an-object")] += count
    faults["mended"] += response.mended
    faults["cut-off"] += response.truncated
    faults["read-elsewhere"] += bool(response.remark)
    return attrs.evolve(edit, faults=dict(+faults))


def meaning_of(subject: int, predicate: str, target: int) -> Meaning:
    """The same value for relations that say the same: "a beside b", "b next to a"; "a under b", "b over a".

    Only spatial predicates have known synonyms and inverses; others are compared as lower-case text.
    """
    spatial = canonical(predicate)
    if spatial is None:
        return subject, clean_text(predicate).lower(), target
    return min((subject, spatial.name, target), (target, spatial.inverse, subject))


class Reader:
    """Turns items of an answer into values of a graph, counting what cannot be used."""

    def __init__(self, view: View, max_predicate_words: int) -> None:
        self.view = view
        self.faults: Counter[str] = Counter()
        self._indices = view.indices
        self._max_words = max_predicate_words
        self._triplets = {row.triplet for row in view.sample.graph.relations.values()}
        self._known = {meaning_of(*triplet) for triplet in self._triplets}
        self._seen: set[Meaning] = set()
        if view.hidden:
            self.faults["regions-not-shown"] += view.hidden

    def fault(self, reason: str, count: int = 1) -> None:
        """Count one fault."""
        assert reason in FAULTS, reason
        self.faults[reason] += count

    def release(self, indices: Iterable[int]) -> None:
        """Let relations, by index, be said again in other words: the same answer removes them."""
        rows = self.view.sample.graph.relations
        gone = set(indices)
        self._known = {meaning_of(*row.triplet) for index, row in rows.items() if index not in gone}

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
        self._seen.add(meaning_of(subject, predicate, target))
        return Relation(subject, predicate, target, category)  # type: ignore[arg-type]

    def _relation_fault(self, subject: int, predicate: str, target: int, category: Any) -> str | None:
        meaning = meaning_of(subject, predicate, target)
        checks: Sequence[tuple[str, bool]] = (
            ("self-relation", subject == target),
            ("empty-predicate", not predicate),
            ("long-predicate", len(predicate.split()) > self._max_words),
            ("wrong-category", category not in CATEGORIES or category == "unknown"),
            ("duplicate", meaning in self._seen),
            ("repeats-known", meaning in self._known or (subject, predicate, target) in self._triplets),
        )
        return next((reason for reason, bad in checks if bad), None)


class _Subject:
    """What an answer says of one region, gathered over all items that name it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.relations: list[Relation] = []
        self.descriptions: dict[str, None] = {}

    def edit(self, told: Sequence[str]) -> Edit:
        """Adds the relations, and the descriptions behind those that the region has (`told`)."""
        edit = Edit.add(*self.relations)
        new = [text for text in self.descriptions if text not in told]
        return edit + Edit.set("region", self.index, descriptions=(*told, *new)) if new else edit


def read_completion(
    view: View, answer: Any, *, subjects: int, relations_per_subject: int, max_predicate_words: int
) -> Edit:
    """The Edit that a completion answer amounts to; never raises for what a model wrote."""
    reader = Reader(view, max_predicate_words)
    found: dict[int, _Subject] = {}
    for item in reader.items(answer, "subjects"):
        index = reader.region(item.get("region"))
        if index is not None:
            _read_subject(reader, found.setdefault(index, _Subject(index)), item, relations_per_subject)
    wanted = min(subjects, len(view.regions))
    if len(found) < wanted:
        reader.fault("too-few-subjects", wanted - len(found))
    edits = [subject.edit(view.regions[index].descriptions) for index, subject in found.items()]
    return attrs.evolve(Edit.sum(edits), faults=dict(reader.faults))


def _read_subject(reader: Reader, subject: _Subject, item: Mapping[str, Any], limit: int) -> None:
    for row in reader.items(item, "relations"):
        relation = reader.relation(subject.index, row)
        if relation is not None and len(subject.relations) == limit:
            reader.fault("too-many-relations")
        elif relation is not None:
            subject.relations.append(relation)
    subject.descriptions.update(dict.fromkeys(reader.texts(item.get("description"))))
