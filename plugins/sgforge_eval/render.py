"""Reports and comparisons for people and machines: terminal, Markdown and CSV tables, one JSON object."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from sgforge.stages import Report
from sgforge.visible import visible
from sgforge_eval.compare import Comparison, Difference

__all__ = ["Format", "Table", "comparison_json", "comparison_tables", "render", "report_json", "report_tables"]

Format = Literal["terminal", "markdown", "csv"]
Cell = str | int | float | None


@attrs.frozen
class Table:
    """A titled table; cells are texts, numbers (shown as they are) or fractions (floats).

    `convention`: under which its numbers are to be read; in the title, in CSV a last column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    convention: str = ""


def _by_family(values: Mapping[str, float]) -> Table:
    """One row per metric, one column per K; metrics without a K in a table column "all"."""
    cuts: dict[str, None] = {}
    rows: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        family, sign, cut = name.rpartition("@")
        family, cut = (family, f"@{cut}") if sign else (name, "all")
        cuts[cut] = None
        rows.setdefault(family, {})[cut] = value
    order = sorted(cuts, key=lambda cut: (cut == "all", len(cut), cut))
    body = tuple((family, *(found.get(cut) for cut in order)) for family, found in rows.items())
    return Table("values", ("metric", *order), body)


def _of_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(title, columns, tuple(tuple(row.get(column) for column in columns) for row in rows))


def report_tables(report: Report, *, details: Iterable[str] = ()) -> list[Table]:
    """The tables of a report: its values, then those of its tables named in `details` that have rows."""
    tables = [_by_family(report.values)]
    tables.extend(_of_rows(name.replace("_", " "), rows) for name in details if (rows := report.tables.get(name)))
    return [attrs.evolve(table, convention=report.convention) for table in tables]


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


def _shown(cell: Cell, form: Format) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float):
        return repr(cell) if form == "csv" else f"{cell:.4f}"
    # Names come from data: nothing in them may move a terminal's cursor or break a table.
    text = visible(str(cell))
    return text.replace("|", "\\|") if form == "markdown" else text


def render(tables: Sequence[Table], form: Format) -> str:
    """Tables as text; CSV separates them with an empty line."""
    if form == "csv":
        return "\n".join(_as_csv(table) for table in tables)
    return "\n\n".join(_as_text(table, form) for table in tables)


def _as_csv(table: Table) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    last = ("convention",) if table.convention else ()
    writer.writerow((*table.columns, *last))
    end = (table.convention,) if table.convention else ()
    writer.writerows([(*(_shown(cell, "csv") for cell in row), *end) for row in table.rows])
    return stream.getvalue()


def _as_text(table: Table, form: Format) -> str:
    cells = [list(table.columns), *([_shown(cell, form) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    is_text = [any(isinstance(row[column], str) for row in table.rows) for column in range(len(table.columns))]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, is_text, strict=True)
        ]
        return f"| {' | '.join(padded)} |" if form == "markdown" else "  ".join(padded).rstrip()

    title = f"{table.title} (convention: {table.convention})" if table.convention else table.title
    if form == "terminal":
        return "\n".join([title, line(cells[0]), "  ".join("-" * width for width in widths), *map(line, cells[1:])])
    rule = (
        "|"
        + "|".join("-" * (width + 1) + ("-" if left else ":") for width, left in zip(widths, is_text, strict=True))
        + "|"
    )
    return "\n".join([f"**{title}**", "", line(cells[0]), rule, *map(line, cells[1:])])
