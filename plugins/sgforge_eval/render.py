"""Reports as one JSON object, comparisons as that or as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sgforge.stages import Report
from sgforge.tables import Table
from sgforge_eval.compare import Comparison, Difference

__all__ = ["comparison_json", "comparison_tables", "report_json"]


def report_json(report: Report, localization: str) -> dict[str, Any]:
    """The object that `--json` prints; values are fractions.

    Tables of scene-graph recall become objects by name: `per_predicate` and `per_category` of values, `interval` of
    [low, high], `counted` of numbers by reason, `predicates` the vocabulary. Other tables are lists of their rows.
    """
    found: dict[str, Any] = {
        "metric": report.metric,
        "convention": report.convention,
        "localization": localization,
        "values": dict(report.values),
        "images": {"used": report.images_used, "skipped": dict(report.images_skipped)},
        "notes": list(report.notes),
    }
    for name, rows in report.tables.items():
        found[name] = _by_name(name, rows)
    return found


def _by_name(table: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    if table == "predicates":
        return [row["predicate"] for row in rows]
    if table == "counted":
        return {row["reason"]: row["count"] for row in rows}
    if table == "interval":
        return {row["metric"]: [row["low"], row["high"]] for row in rows}
    if table in ("per_predicate", "per_category") and all(table[4:] in row for row in rows):
        return {row[table[4:]]: {key: value for key, value in row.items() if key != table[4:]} for row in rows}
    return list(rows)


def comparison_tables(comparison: Comparison, *, per_predicate: bool = True) -> list[Table]:
    """Differences per metric and per predicate; "*" marks an interval that leaves out 0."""
    title = f"B - A, 95 % interval of {comparison.draws} paired resamples"
    tables = [_differences(title, comparison.metrics, named=False)]
    if per_predicate and comparison.predicates:
        tables.append(_differences(f"{title}, per predicate", comparison.predicates, named=True))
    return [attrs.evolve(table, convention=comparison.convention) for table in tables]


def _differences(title: str, rows: Sequence[Difference], *, named: bool) -> Table:
    columns = (*(("predicate",) if named else ()), "metric", "A", "B", "B - A", "low", "high", "")
    return Table(
        title,
        columns,
        tuple(
            (
                *((row.name,) if named else ()),
                *(row.metric, row.first, row.second, row.value, row.low, row.high),
                "*" if row.clear else "",
            )
            for row in rows
        ),
    )


def comparison_json(comparison: Comparison, metric: str, localization: str) -> dict[str, Any]:
    """The object that `--compare --json` prints."""

    def numbers(row: Difference) -> dict[str, float | None]:
        bounds = {"low": row.low, "high": row.high}
        known = {name: None if math.isnan(value) else value for name, value in bounds.items()}
        return {"a": row.first, "b": row.second, "difference": row.value, **known}

    per_predicate: dict[str, dict[str, Any]] = {}
    for row in comparison.predicates:
        per_predicate.setdefault(row.name, {})[row.metric] = numbers(row)
    return {
        "metric": metric,
        "convention": comparison.convention,
        "localization": localization,
        "draws": comparison.draws,
        "values": {row.metric: numbers(row) for row in comparison.metrics},
        "per_predicate": per_predicate,
        "images": {side: dict(counts) for side, counts in comparison.images.items()},
        "notes": list(comparison.notes),
    }
