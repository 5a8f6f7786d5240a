"""Edits and samples as compact bytes: what the journal keeps and what keys are made of."""

from __future__ import annotations

from sgforge.packed.codec import (
    REGION_FIELD_NAMES,
    RELATION_FIELD_NAMES,
    pack_edit,
    pack_sample,
    unpack_edit,
    unpack_sample,
)
from sgforge.packed.joined import EditColumns, edit_columns
from sgforge.packed.values import ValueBlock, ValuePacker, pack_values, unpack_values

__all__ = [
    "REGION_FIELD_NAMES",
    "RELATION_FIELD_NAMES",
    "EditColumns",
    "ValueBlock",
    "ValuePacker",
    "edit_columns",
    "pack_edit",
    "pack_sample",
    "pack_values",
    "unpack_edit",
    "unpack_sample",
    "unpack_values",
]
