"""What changed in the values of further columns between two versions of an image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from sgforge.columns.declared import Column, to_json
from sgforge.dataset.snapshot import Snapshot
from sgforge.graph import FileRef, NumberArray

__all__ = ["Fields", "differing_columns", "value_changes"]

Fields: TypeAlias = dict[str, tuple[Any, Any]]
_SHOWN_NUMBERS: Final = 16


def differing_columns(before: Snapshot, after: Snapshot) -> list[Column]:
    """The further columns that are not the same arrays in both; of others nothing has to be read."""
    columns = {column.key: column for column in (*before.meta.columns, *after.meta.columns)}
    are_aligned = before.image_ids == after.image_ids
    return [
        column
        for key, column in sorted(columns.items())
        if not are_aligned or before.records_of(column) != after.records_of(column)
    ]


def value_changes(
    before: tuple[Snapshot, int], after: tuple[Snapshot, int], columns: Iterable[Column]
) -> dict[tuple[str, int], Fields]:
    """(before, now) of each value that differs, None where there is none, by target and index, then by column."""
    changes: dict[tuple[str, int], Fields] = {}
    for column in columns:
        old, new = _values(*before, column), _values(*after, column)
        for index in sorted({*old, *new}):
            left, right = old.get(index), new.get(index)
            if left != right:
                pair = (_shown(left, column), _shown(right, column))
                changes.setdefault((column.target, index), {})[column.name] = pair
    return changes


def _values(snapshot: Snapshot, row: int, column: Column) -> dict[int, Any]:
    found = snapshot.value_column(*column.key)
    return {} if found is None else found.values(*snapshot.rows_of(column.target, row, row + 1))


def _shown(value: Any, column: Column) -> Any:
    """A value as JSON for people: few numbers as they are, many by their shape and hash."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, FileRef):
        return f"file {value.sha256[:12]} of {value.length} bytes"
    if isinstance(value, NumberArray):
        numbers = value.array()
        if numbers.size <= _SHOWN_NUMBERS:
            return numbers.tolist()
        return f"{numbers.size} numbers, sha256 {hashlib.sha256(value.data).hexdigest()[:12]}"
    return to_json(value, column)
