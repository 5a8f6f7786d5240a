"""What stands in the ledger of paid answers, for people and as JSON: all runs over one responses file together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgforge.errors import DatasetError
from sgforge.sqlite_files import has_tables
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.models.money.ledger import LostCall, Spending

__all__ = ["as_json", "ledger_of", "lines", "lost_of"]


def ledger_of(responses: Path) -> list[Spending]:
    """The ledger summed up by model; empty where no model was ever asked. Only looks: a run may be under way on it."""
    if not has_tables(responses):
        return []
    try:
        return _read(responses)
    except sqlite3.Error:
        pass  # a run may have begun or ended just now: how to open the file is then another
    try:
        return _read(responses)
    except sqlite3.Error as error:
        raise DatasetError(f"responses file {responses}: {error}") from error


def lost_of(responses: Path) -> list[LostCall]:
    """The calls that are counted at their worst case, oldest first."""
    from sgforge.dataset.states.known_states import connect_to_read
    from sgforge.models.cache.store import OpenToRead
    from sgforge.models.money.ledger import lost_calls

    if not has_tables(responses):
        return []
    try:
        with closing(connect_to_read(responses)) as base:
            return lost_calls(OpenToRead(responses, base))
    except sqlite3.Error as error:
        raise DatasetError(f"responses file {responses}: {error}") from error


def _read(responses: Path) -> list[Spending]:
    from sgforge.dataset.states.known_states import connect_to_read
    from sgforge.models.cache.store import OpenToRead
    from sgforge.models.money.ledger import spending

    with closing(connect_to_read(responses)) as base:
        return spending(OpenToRead(responses, base))


def lines(ledger: list[Spending]) -> Iterator[str]:
    """One line a model."""
    for row in ledger:
        given = row.usage.total - row.usage.output
        lost = f" ({row.lost} without an answer, at their worst case)" if row.lost else ""
        apart = [
            f"${usd:.4f} {meaning}"
            for usd, meaning in (
                (row.spent_usd, "spent"),
                (row.reserved_usd, "reserved"),
                (row.lost_usd, "for lost calls"),
            )
        ]
        parts = f" ({', '.join(apart)})" if row.lost else ""
        free = f", {counted(row.unpriced, 'call')} of unknown price" if row.unpriced else ""
        tokens = f"{counted(given, 'token')} in, {row.usage.output} out"
        told = f"{counted(row.calls, 'call')}{lost}, {tokens}, ${row.usd:.4f}{parts}{free}"
        yield f"{row.model}: {told} in all runs so far"


def as_json(ledger: list[Spending]) -> dict[str, Any]:
    """By model."""
    return {
        row.model: {
            "calls": row.calls,
            "lost": row.lost,
            "unpriced": row.unpriced,
            "input": row.usage.input,
            "cache_read": row.usage.cache_read,
            "cache_write": row.usage.cache_write,
            "output": row.usage.output,
            "reasoning": row.usage.reasoning,
            "usd": row.usd,
            "spent_usd": row.spent_usd,
            "reserved_usd": row.reserved_usd,
            "lost_usd": row.lost_usd,
        }
        for row in ledger
    }
