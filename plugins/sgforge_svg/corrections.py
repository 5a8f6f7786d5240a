"""Reading an editor's answer: removals with a reason, additions, sharper descriptions and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sgforge.edits import Edit
from sgforge.graph import Relation
from sgforge_svg.answers import Reader
from sgforge_svg.prompts import REMOVAL_REASONS
from sgforge_svg.view import View

__all__ = ["read_corrections"]


def read_corrections(
    view: View,
    shown: Sequence[tuple[int, Relation]],
    removable: frozenset[int],
    answer: Any,
    *,
    max_additions: int,
    max_predicate_words: int,
) -> Edit:
    """The Edit that an editor's answer amounts to; never raises for what a model wrote.

    `shown`: (index, relation) of the relations that were sent, under the numbers 1..n. `removable`: indices among them
    that may be removed. The words that explain a removal stay in the record of the call.
    """
    reader = Reader(view, max_predicate_words)
    edits = [
        *_removals(reader, [index for index, _row in shown], removable, answer),
        *_additions(reader, answer, max_additions),
        *_descriptions(reader, answer),
        *_attributes(reader, answer),
    ]
    return attrs.evolve(Edit.sum(edits), faults=dict(reader.faults))


def _removals(reader: Reader, indices: Sequence[int], removable: frozenset[int], answer: Any) -> list[Edit]:
    edits: dict[int, Edit] = {}
    for item in reader.items(answer, "remove"):
        number, reason = item.get("relation"), item.get("reason")
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= len(indices):
            reader.fault("unknown-relation")
        elif reason not in REMOVAL_REASONS:
            reader.fault("unknown-reason")
        elif indices[number - 1] not in removable:
            reader.fault("not-removable")
        else:
            edits.setdefault(indices[number - 1], Edit.reject(indices[number - 1], reason))
    return list(edits.values())


def _additions(reader: Reader, answer: Any, limit: int) -> list[Edit]:
    added: list[Edit] = []
    for item in reader.items(answer, "add"):
        subject = reader.region(item.get("subject"))
        relation = None if subject is None else reader.relation(subject, item)
        if relation is None:
            continue
        if len(added) == limit:
            reader.fault("too-many-additions")
            continue
        added.append(Edit.add(relation))
    return added


def _descriptions(reader: Reader, answer: Any) -> list[Edit]:
    """A sharper sentence comes first; older ones stay behind it."""
    newest: dict[int, str] = {}
    for item in reader.items(answer, "descriptions"):
        index = _region_of(reader, item)
        texts = () if index is None else reader.texts(item.get("description"))
        if index is not None and texts:
            newest[index] = texts[0]
    edits = []
    for index, text in newest.items():
        older = [other for other in reader.view.regions[index].descriptions if other != text]
        edits.append(Edit.set("region", index, descriptions=(text, *older)))
    return edits


def _attributes(reader: Reader, answer: Any) -> list[Edit]:
    newest: dict[int, tuple[str, ...]] = {}
    for item in reader.items(answer, "attributes"):
        index = _region_of(reader, item)
        texts = () if index is None else reader.texts(item.get("attributes"))
        if index is not None and texts:
            newest[index] = texts
    return [Edit.set("region", index, attributes=texts) for index, texts in newest.items()]


def _region_of(reader: Reader, item: Mapping[str, Any]) -> int | None:
    return reader.region(item.get("region"))
