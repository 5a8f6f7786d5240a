"""Reading an editor's answer: removals with a reason, additions, sharper descriptions and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from sgforge.edits import Edit
from sgforge_svg.answers import Reader
from sgforge_svg.prompts import REMOVAL_REASONS
from sgforge_svg.view import View

__all__ = ["read_corrections"]


def read_corrections(
    view: View, proposed: Sequence[int], answer: Any, *, max_additions: int, max_predicate_words: int
) -> Edit:
    """The Edit that an editor's answer amounts to; never raises for what a model wrote.

    `proposed`: indices of the relations that were sent for correction, under the numbers 1..n; no others are removed.
    The words that explain a removal stay in the record of the call.
    """
    reader = Reader(view, max_predicate_words)
    removals = _removals(reader, proposed, answer)
    reader.release(removals)
    edits = [
        *removals.values(),
        *_additions(reader, answer, max_additions),
        *_descriptions(reader, answer),
        *_attributes(reader, answer),
    ]
    return attrs.evolve(Edit.sum(edits), faults=dict(reader.faults))


def _removals(reader: Reader, proposed: Sequence[int], answer: Any) -> dict[int, Edit]:
    """Rejections by the index of their relation."""
    edits: dict[int, Edit] = {}
    for item in reader.items(answer, "remove"):
        number, reason = item.get("relation"), item.get("reason")
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= len(proposed):
            reader.fault("unknown-relation")
        elif not isinstance(reason, str) or reason not in REMOVAL_REASONS:
            reader.fault("unknown-reason")
        elif proposed[number - 1] in edits:
            reader.fault("duplicate")
        else:
            edits[proposed[number - 1]] = Edit.reject(proposed[number - 1], reason)
    return edits


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
    edits = []
    for index, texts in _texts_by_region(reader, answer, "descriptions", "description").items():
        older = [text for text in reader.view.regions[index].descriptions if text not in texts]
        edits.append(Edit.set("region", index, descriptions=(*texts, *older)))
    return edits


def _attributes(reader: Reader, answer: Any) -> list[Edit]:
    """The attributes of a region, in place of those it had."""
    found = _texts_by_region(reader, answer, "attributes", "attributes")
    return [Edit.set("region", index, attributes=texts) for index, texts in found.items()]


def _texts_by_region(reader: Reader, answer: Any, key: str, field: str) -> dict[int, tuple[str, ...]]:
    """What the list `key` says of each region; of two entries on one region the first counts."""
    found: dict[int, tuple[str, ...]] = {}
    for item in reader.items(answer, key):
        index = reader.region(item.get("region"))
        texts = () if index is None else reader.texts(item.get(field))
        if index is None or not texts:
            continue
        if index in found:
            reader.fault("duplicate")
        else:
            found[index] = texts
    return found
