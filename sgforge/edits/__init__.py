"""Edit: what a step answers for one image, and how an answer changes a graph and its sample (pure functions)."""

from __future__ import annotations

from sgforge.edits.apply import Applied, apply_edit, with_edit, with_values
from sgforge.edits.edit import UNANSWERED, Edit
from sgforge.edits.items import REGION_FIELDS, RELATION_FIELDS, FieldSet, Target, Value, ValueTarget, Verdict
from sgforge.edits.sums import joined_as_one

__all__ = [
    "REGION_FIELDS",
    "RELATION_FIELDS",
    "UNANSWERED",
    "Applied",
    "Edit",
    "FieldSet",
    "Target",
    "Value",
    "ValueTarget",
    "Verdict",
    "apply_edit",
    "joined_as_one",
    "with_edit",
    "with_values",
]
