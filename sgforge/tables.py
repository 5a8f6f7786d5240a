"""Tables of a report, for a terminal, Markdown or CSV: `sgforge run` and `sgforge eval` print the same."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from sgforge.stages import Report
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

__all__ = ["DETAILS", "Format", "Table", "render", "report_remarks", "report_tables"]

DETAILS: Final = ("per_category", "interval")
"""The tables of a report that are shown beside its values, where there is no wish for others."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

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


def report_tables(report: Report, *, details: Iterable[str] = DETAILS) -> list[Table]:
    """The tables of a report: its values, then those of its tables named in `details` that have rows."""
    tables = [_by_family(report.values)]
    tables.extend(_of_rows(name.replace("_", " "), rows) for name in details if (rows := report.tables.get(name)))
    return [attrs.evolve(table, convention=report.convention) for table in tables]


def report_remarks(report: Report, noun: str = "image", plural: str = "images") -> list[str]:
    """What stands under the tables: the convention, how many images (or what else) were used and skipped, notes."""
    convention = f"convention {report.convention}, " if report.convention else ""
    return [
        f"{convention}{counted(report.images_used, noun, plural)} used",
        *(f"skipped: {count} x {why}" for why, count in report.images_skipped.items()),
        *report.notes,
    ]


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
    writer.writerow((*(_unable_to_act(name, name) for name in table.columns), *last))
    end = (table.convention,) if table.convention else ()
    writer.writerows([(*(_unable_to_act(cell, _shown(cell, "csv")) for cell in row), *end) for row in table.rows])
    return stream.getvalue()


def _unable_to_act(cell: Cell, shown: str) -> str:
    """A text that a spreadsheet would take for a formula, behind a quote: names in a report come from anywhere."""
    return f"'{shown}" if isinstance(cell, str) and shown.startswith(_FORMULA) else shown


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
