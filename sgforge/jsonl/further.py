"""Values of further columns in lines: texts and JSON in the `x` of graphs, those of every type in edits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgforge.columns.declared import CORE_COLUMNS, Column, column_of, fitted, from_json, to_json
from sgforge.edits import Value, ValueTarget
from sgforge.errors import GraphError
from sgforge.graph import FileRef, NumberArray, Sample
from sgforge.graph.values import FILE, JSON, TEXT, Values

__all__ = ["add_values", "further_values", "value_of_row", "value_row", "values_of_line"]


def further_values(target: ValueTarget, index: int | None, given: Mapping[str, Any]) -> list[Value]:
    """The values that the `x` of an image or row stands for; null stands for none."""
    found = []
    for name, plain in given.items():
        if plain is not None:
            kind = TEXT if isinstance(plain, str) else JSON
            column = CORE_COLUMNS.get((target, name)) or Column(target, name, kind)
            if column.kind != kind:
                raise GraphError(f"{column} takes no {'text' if kind == TEXT else 'JSON value'}")
            value = plain if kind == TEXT else from_json(plain, column)
            found.append(fitted(Value(target, index, name, value), column))
    return found


def values_of_line(data: Mapping[str, Any]) -> list[Value]:
    """The values of further columns that a line whose fields are right holds in its `x` and in those of its rows."""
    found = further_values("image", None, data.get("x") or {})
    for target, rows in (("region", data["regions"]), ("relation", data.get("relations") or ())):
        for index, row in enumerate(rows):
            if row.get("x"):
                found += further_values(target, index, row["x"])  # type: ignore[arg-type]
    return found


def add_values(data: dict[str, Any], sample: Sample) -> None:
    """Put the texts and JSON of a sample into its line."""
    if image := _plain(sample.values, "image"):
        data["x"] = {name: values[0] for name, values in image.items()}
    rows: tuple[tuple[ValueTarget, str], ...] = (("region", "regions"), ("relation", "relations"))
    for target, key in rows:
        for name, values in _plain(sample.values_of(target), target).items():
            for index, value in values.items():
                data[key][index].setdefault("x", {})[name] = value


def value_row(value: Value) -> dict[str, Any]:
    """A value of an edit as JSON. Numbers are told with their type and shape, a file by its sha256 and length.

    One that was never checked against its column is told as what it looks like.
    """
    column = column_of(value)
    row: dict[str, Any] = {"target": value.target, "index": value.index, "column": value.column}
    if column.is_numeric:
        row |= {"kind": column.kind, "shape": list(column.shape)}
    if isinstance(value.value, FileRef):
        return {**row, "file": {"sha256": value.value.sha256, "length": value.value.length}}
    plain = value.value.array().tolist() if isinstance(value.value, NumberArray) else value.value
    return {**row, "value": to_json(plain, column) if column.kind == JSON else plain}


def value_of_row(row: Mapping[str, Any]) -> Value:
    """The value that `value_row` wrote, checked; anything else is a `GraphError` or what reading it raises."""
    target, name, shape = row["target"], row["column"], row.get("shape", ())
    if "file" in row:
        plain: Any = FileRef(row["file"]["sha256"], row["file"]["length"])
    else:
        plain = row["value"]
    kind = row.get("kind") or (FILE if "file" in row else TEXT if isinstance(plain, str) else JSON)
    column = CORE_COLUMNS.get((target, name)) or Column(target, name, kind, shape)
    if column.kind != kind:
        raise GraphError(f"{column} takes no {kind}")
    value = from_json(plain, column) if kind == JSON else plain
    return fitted(Value(target, row.get("index"), name, value), column)


def _plain(values: Values, target: ValueTarget) -> dict[str, dict[int, Any]]:
    """Texts and JSON by column and index, 0 for the image; numbers and files are not even read."""
    found = {}
    for name in sorted(name for name in values if values.kind(name) in (TEXT, JSON)):
        column = Column(target, name, values.kind(name))
        rows = {0: values[name]} if target == "image" else values[name]
        is_text = column.kind == TEXT
        found[name] = {index: value if is_text else to_json(value, column) for index, value in rows.items()}
    return found
