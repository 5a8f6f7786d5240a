"""Every call in the ledger: opened at its worst case before it is sent, closed at what it cost.

A call that is never closed (the process died) or was lost on the way stays at its worst case. Operations here run
inside a transaction of the store's writer.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from sgforge.group_commit import Operation
from sgforge.models.cache.answers import Checked, Outcome
from sgforge.models.cache.request_key import EARLIER_LIMITS, RequestName
from sgforge.models.cache.store import Rows, Store
from sgforge.models.errors import BudgetReachedError, ProviderError
from sgforge.models.money.prices import NANO
from sgforge.models.values import Usage

__all__ = [
    "CallKind",
    "LostCall",
    "Spending",
    "StoredAnswer",
    "budget_nano",
    "check_budget",
    "close_call",
    "committed_nano",
    "find_answer",
    "find_at_other_limit",
    "find_faulty",
    "is_open",
    "lose_call",
    "lost_calls",
    "open_call",
    "release_calls",
    "save_answer",
    "save_fault",
    "spending",
    "void_call",
]

CallKind: TypeAlias = Literal["answer", "repair", "batch"]
_MOST_USD: Final = 1e9


@attrs.frozen
class StoredAnswer:
    """One bought answer as it lies in the store. `outcome` "unrepaired": a repair is still to be tried.

    `base` and `max_tokens`: what it is also found under, if it was not cut off. `checked`: how it was read; None for
    one that comes from the file.
    """

    key: bytes
    model: str
    outcome: Outcome | Literal["unrepaired"]
    raw: bytes
    detail: str
    usage: Usage
    cost_nano: int | None
    repaired: bool
    notes: tuple[str, ...] = ()
    base: bytes = attrs.field(default=b"", eq=False, repr=False)
    max_tokens: int = attrs.field(default=0, eq=False)
    checked: Checked | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class Spending:
    """The ledger summed up for one model. `lost`: calls counted at their worst case, still open ones included.

    Of `usd`, `reserved_usd` is held for calls that are open, under way or of a process that was killed, and `lost_usd`
    for those that were lost on their way; the rest was spent on answers.
    """

    model: str
    calls: int
    lost: int
    unpriced: int
    usage: Usage
    usd: float
    reserved_usd: float = 0.0
    lost_usd: float = 0.0

    @property
    def spent_usd(self) -> float:
        """What answers have cost."""
        return max(0.0, self.usd - self.reserved_usd - self.lost_usd)


@attrs.frozen
class LostCall:
    """One call that stands at its worst case: lost on its way, or open with nobody left who waits for it."""

    id: int
    model: str
    kind: str
    state: str
    reason: str
    usd: float | None
    at: float


def lost_calls(store: Rows, before: float | None = None) -> list[LostCall]:
    """Calls without an answer, oldest first, those in batches that are open left out; `before`: entered until then."""
    rows = store.read(
        "SELECT id, model, kind, state, outcome, bound_nano, at FROM call WHERE state IN ('lost', 'open') "
        "AND id NOT IN (SELECT call FROM batch_item) AND at <= ? ORDER BY id",
        (time.time() if before is None else before,),
    )
    return [
        LostCall(
            id=row[0],
            model=row[1],
            kind=row[2],
            state=row[3],
            reason=row[4],
            usd=None if row[5] is None else row[5] / NANO,
            at=row[6],
        )
        for row in rows
    ]


def release_calls(calls: Sequence[LostCall]) -> Operation[int]:
    """Free what is held for calls that the vendor has not billed; how many were still held."""

    def operation(connection: sqlite3.Connection) -> int:
        freed = 0
        for call in calls:
            held = connection.execute(
                "SELECT 1 FROM call WHERE id = ? AND state IN ('lost', 'open')", (call.id,)
            ).fetchone()
            if held is not None:
                void_call(call.id, "released")(connection)
                freed += 1
        return freed

    return operation


def open_call(
    key: bytes, model: str, kind: CallKind, bound_nano: int | None, budget_usd: float | None, prices: str
) -> Operation[int]:
    """Enter a call about to be sent, with its worst case; a `BudgetReachedError` if that could exceed the budget."""

    def operation(connection: sqlite3.Connection) -> int:
        check_budget(connection, bound_nano or 0, budget_usd)
        _commit_money(connection, bound_nano or 0)
        cursor = connection.execute(
            "INSERT INTO call (key, model, kind, state, outcome, bound_nano, prices, at) "
            "VALUES (?, ?, ?, 'open', '', ?, ?, ?)",
            (key, model, kind, bound_nano, prices, time.time()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    return operation


def check_budget(connection: sqlite3.Connection, nano: int, budget_usd: float | None) -> None:
    """A `BudgetReachedError` if so much more could exceed the budget."""
    if budget_usd is None:
        return
    (committed,) = connection.execute("SELECT committed_nano FROM account").fetchone()
    if committed + nano > budget_nano(budget_usd):
        raise BudgetReachedError(
            f"what is next may cost {nano / NANO:.6f} USD and {committed / NANO:.6f} of budget_usd = {budget_usd:g} "
            "is spent or reserved; raise budget_usd to go on"
        )


def budget_nano(budget_usd: float) -> int:
    """A budget in whole nano-dollars."""
    return int(min(budget_usd, _MOST_USD) * NANO)


def close_call(
    connection: sqlite3.Connection, call: int, outcome: str, usage: Usage, cost: int | None, seconds: float
) -> None:
    """Settle a call at its true cost."""
    # One that a person has let go of while it was under way holds nothing any more.
    (bound,) = connection.execute(
        "SELECT CASE state WHEN 'void' THEN 0 ELSE bound_nano END FROM call WHERE id = ?", (call,)
    ).fetchone()
    _commit_money(connection, (cost or 0) - (bound or 0))
    connection.execute(
        "UPDATE call SET state = 'settled', outcome = ?, cost_nano = ?, input = ?, cache_read = ?, cache_write = ?, "
        "output = ?, reasoning = ?, seconds = ? WHERE id = ?",
        (outcome, cost, *attrs.astuple(usage), seconds, call),
    )


def is_open(connection: sqlite3.Connection, call: int, key: bytes) -> bool:
    """Whether a call of this request is still to be closed."""
    row = connection.execute("SELECT 1 FROM call WHERE id = ? AND key = ? AND state = 'open'", (call, key)).fetchone()
    return row is not None


def lose_call(call: int, reason: str) -> Operation[None]:
    """A call that was sent and brought no answer: it stays at its worst case."""

    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE call SET state = 'lost', outcome = ?, cost_nano = bound_nano WHERE id = ?", (reason, call)
        )

    return operation


def void_call(call: int, reason: str) -> Operation[None]:
    """A call that was certainly not billed (refused by the server, never sent): it costs nothing."""

    def operation(connection: sqlite3.Connection) -> None:
        (bound,) = connection.execute("SELECT bound_nano FROM call WHERE id = ?", (call,)).fetchone()
        _commit_money(connection, -(bound or 0))
        connection.execute("UPDATE call SET state = 'void', outcome = ?, cost_nano = 0 WHERE id = ?", (reason, call))

    return operation


_NO_USE: Final = "outcome NOT IN ('ok', 'partial')"
_COLUMNS: Final = (
    "key, model, outcome, raw, detail, input, cache_read, cache_write, output, reasoning, cost_nano, repaired, notes"
)


def save_answer(connection: sqlite3.Connection, answer: StoredAnswer) -> None:
    """Store a bought answer under its key, in place of an earlier one; one that was of no use is kept beside it."""
    connection.execute(
        "INSERT INTO faulty (key, raw, fault, at) SELECT key, raw, outcome || ': ' || detail, at FROM response "
        f"WHERE key = ? AND {_NO_USE} AND raw != ?",
        (answer.key, answer.raw),
    )
    connection.execute(
        "INSERT OR REPLACE INTO response VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(answer.key, answer.model, answer.outcome, answer.raw, answer.detail),
            *attrs.astuple(answer.usage),
            *(answer.cost_nano, answer.repaired, "\n".join(answer.notes), time.time()),
        ),
    )
    if answer.base and answer.outcome == "ok":
        connection.execute(
            "INSERT OR IGNORE INTO any_limit VALUES (?, ?, ?)", (answer.base, answer.key, answer.max_tokens)
        )


def save_fault(key: bytes, error: ProviderError) -> Operation[None]:
    """Keep a body that may have been paid for and could not be read, if there is one."""

    def operation(connection: sqlite3.Connection) -> None:
        if error.body:
            connection.execute(
                "INSERT INTO faulty (key, raw, fault, at) VALUES (?, ?, ?, ?)",
                (key, error.body, str(error), time.time()),
            )

    return operation


def find_faulty(store: Store, key: bytes) -> list[bytes]:
    """Bodies that were paid for under a key and were of no use, newest first."""
    if not store.keeps_faults:
        return []
    return [row[0] for row in store.read("SELECT raw FROM faulty WHERE key = ? ORDER BY id DESC", (key,))]


def find_answer(store: Rows, key: bytes) -> StoredAnswer | None:
    """The stored answer of a request, whatever its outcome."""
    rows = store.read(f"SELECT {_COLUMNS} FROM response WHERE key = ?", (key,))
    return _answer_of(rows[0]) if rows else None


def find_at_other_limit(store: Store, name: RequestName) -> StoredAnswer | None:
    """A good answer, not cut off, of the same request with another max_tokens."""
    rows: list[Any] = []
    if store.keeps_faults:
        rows = store.read(
            f"SELECT {_COLUMNS} FROM response WHERE outcome = 'ok' AND key IN "
            "(SELECT key FROM any_limit WHERE base = ?) ORDER BY at LIMIT 1",
            (name.base,),
        )
    if not rows and store.has_earlier_answers:
        keys = [name.key_at(limit) for limit in EARLIER_LIMITS]
        marks = ", ".join("?" * len(keys))
        rows = store.read(
            f"SELECT {_COLUMNS} FROM response WHERE outcome = 'ok' AND key IN ({marks}) ORDER BY at LIMIT 1", keys
        )
    return _answer_of(rows[0]) if rows else None


def _answer_of(row: Sequence[Any]) -> StoredAnswer:
    notes = tuple(row[12].split("\n")) if row[12] else ()
    return StoredAnswer(
        key=row[0],
        model=row[1],
        outcome=row[2],
        raw=row[3],
        detail=row[4],
        usage=_usage(row[5:10]),
        cost_nano=row[10],
        repaired=bool(row[11]),
        notes=notes,
    )


def _usage(columns: Sequence[int]) -> Usage:
    """Tokens as the tables hold them, side by side."""
    given, read, written, output, reasoning = columns
    return Usage(input=given, cache_read=read, cache_write=written, output=output, reasoning=reasoning)


def committed_nano(store: Rows) -> int:
    """Everything spent or reserved, by all processes, in nano-dollars."""
    committed: int = store.read("SELECT committed_nano FROM account")[0][0]
    return committed


def spending(store: Rows) -> list[Spending]:
    """The whole ledger by model, in order of their names."""
    rows = store.read(
        "SELECT model, SUM(state != 'void'), SUM(state IN ('lost', 'open')), "
        "SUM(state != 'void' AND COALESCE(cost_nano, bound_nano) IS NULL), SUM(input), SUM(cache_read), "
        "SUM(cache_write), SUM(output), SUM(reasoning), "
        "SUM(COALESCE(CASE state WHEN 'open' THEN bound_nano ELSE cost_nano END, 0)), "
        "SUM(COALESCE(CASE state WHEN 'open' THEN bound_nano END, 0)), "
        "SUM(COALESCE(CASE state WHEN 'lost' THEN cost_nano END, 0)) "
        "FROM call GROUP BY model ORDER BY model"
    )
    return [
        Spending(
            model=row[0],
            calls=row[1],
            lost=row[2],
            unpriced=row[3],
            usage=_usage(row[4:9]),
            usd=row[9] / NANO,
            reserved_usd=row[10] / NANO,
            lost_usd=row[11] / NANO,
        )
        for row in rows
    ]


def _commit_money(connection: sqlite3.Connection, nano: int) -> None:
    connection.execute("UPDATE account SET committed_nano = committed_nano + ?", (nano,))
