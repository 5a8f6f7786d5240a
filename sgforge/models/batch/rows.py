"""The rows of batches: what was handed to a vendor's batch endpoint, and which requests wait in it.

A batch is entered before it is submitted ("intent"), gets its remote id after ("submitted"), and is "collected" when
every request of it has an answer or is free to be asked again.
"""

from __future__ import annotations

import base64
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import attrs
import orjson

from sgforge.group_commit import Operation
from sgforge.models.cache.store import Store
from sgforge.models.money.ledger import (
    StoredAnswer,
    check_budget,
    close_call,
    lose_call,
    open_call,
    save_answer,
    void_call,
)
from sgforge.models.values import ChatRequest, Message, Reading, Usage

__all__ = [
    "BatchRow",
    "Item",
    "Terms",
    "batches",
    "collect_items",
    "custom_id",
    "drop_batch",
    "enter_batch",
    "find_items",
    "free_items",
    "set_state",
]

BatchRowState: TypeAlias = Literal["intent", "submitted", "collected", "dropped"]


@attrs.frozen
class Terms:
    """What is needed of a request to judge its answer later, in another process; `notes`: what was done to it;
    `base`: what its answer is also found under."""

    max_tokens: int
    input_bound: int
    choices: tuple[str, ...] = ()
    schema: Any = None
    notes: tuple[str, ...] = ()
    reading: Reading = attrs.field(factory=Reading)
    base: bytes = b""

    @classmethod
    def of(cls, request: ChatRequest, input_bound: int, notes: tuple[str, ...], base: bytes = b"") -> Terms:
        """The terms of a request."""
        return cls(
            max_tokens=request.max_tokens,
            input_bound=input_bound,
            choices=request.choices,
            schema=request.schema,
            notes=notes,
            reading=request.reading,
            base=base,
        )

    def request(self) -> ChatRequest:
        """A request with these terms and without its content."""
        unseen = (Message("user", ""),)
        return ChatRequest(unseen, self.schema, self.max_tokens, choices=self.choices, reading=self.reading)


@attrs.frozen
class Item:
    """One request of a batch; `bound_nano`: its worst case at batch price."""

    key: bytes
    terms: Terms
    bound_nano: int | None
    call: int = 0


@attrs.frozen
class BatchRow:
    """One batch as the responses file knows it; `waiting`: requests of it that have no answer yet."""

    id: int
    tag: str
    model: str
    state: BatchRowState
    remote_id: str | None
    status: str
    spool: str
    total: int
    bytes: int
    at: float
    waiting: int


def custom_id(key: bytes) -> str:
    """A key as vendors take ids: 52 letters and digits."""
    return base64.b32encode(key).decode("ascii").rstrip("=")


def batches(store: Store, open_only: bool = False) -> list[BatchRow]:
    """All batches, oldest first."""
    where = "WHERE state IN ('intent', 'submitted')" if open_only else ""
    stored = [field.name for field in attrs.fields(BatchRow) if field.name != "waiting"]
    rows = store.read(
        f"SELECT {', '.join(stored)}, "
        f"(SELECT COUNT(*) FROM batch_item WHERE batch = batch.id) FROM batch {where} ORDER BY id"
    )
    return [BatchRow(**dict(zip(stored, row, strict=False)), waiting=row[-1]) for row in rows]


def enter_batch(
    tag: str, model: str, spool: str, size: int, items: Sequence[Item], budget_usd: float | None, prices: str
) -> Operation[int]:
    """The intent: the batch, its items, and a ledger row at worst case for each; over the budget nothing is entered."""

    def operation(connection: sqlite3.Connection) -> int:
        check_budget(connection, sum(item.bound_nano or 0 for item in items), budget_usd)
        cursor = connection.execute(
            "INSERT INTO batch (tag, model, state, spool, total, bytes, at) VALUES (?, ?, 'intent', ?, ?, ?, ?)",
            (tag, model, spool, len(items), size, time.time()),
        )
        batch = cursor.lastrowid
        assert batch is not None
        for item in items:
            call = open_call(item.key, model, "batch", item.bound_nano, None, prices)(connection)
            connection.execute(
                "INSERT INTO batch_item VALUES (?, ?, ?, ?, ?, ?)",
                (item.key, custom_id(item.key), batch, call, _packed(item.terms), _schema_of(connection, item.terms)),
            )
        return batch

    return operation


def set_state(batch: int, state: BatchRowState, remote_id: str | None = None, status: str = "") -> Operation[None]:
    """Where a batch stands now."""

    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE batch SET state = ?, remote_id = COALESCE(?, remote_id), status = ? WHERE id = ?",
            (state, remote_id, status, batch),
        )

    return operation


def drop_batch(batch: int, reason: str, maybe_billed: bool = False) -> Operation[int]:
    """A batch that never was at the vendor, or is over: its waiting requests are free again; how many. They are
    unbilled, or with `maybe_billed` lost at their worst case."""

    def operation(connection: sqlite3.Connection) -> int:
        rows = connection.execute("SELECT key, call FROM batch_item WHERE batch = ?", (batch,)).fetchall()
        _free(connection, rows, reason, maybe_billed)
        return len(rows)

    return operation


def find_items(store: Store, batch: int, custom_ids: Sequence[str]) -> dict[str, Item]:
    """Waiting items of a batch by custom id."""
    marks = ", ".join("?" * len(custom_ids))
    rows = store.read(
        "SELECT custom_id, key, call, terms, content FROM batch_item LEFT JOIN batch_schema ON schema = hash "
        f"WHERE batch = ? AND custom_id IN ({marks})",
        (batch, *custom_ids),
    )
    return {row[0]: Item(row[1], _unpacked(row[3], row[4]), None, row[2]) for row in rows}


def collect_items(settled: Sequence[tuple[Item, StoredAnswer, Usage, int | None]]) -> Operation[None]:
    """Answers of a batch: each saved, its call closed at its own usage and cost, its item done."""

    def operation(connection: sqlite3.Connection) -> None:
        for item, answer, usage, cost in settled:
            close_call(connection, item.call, answer.outcome, usage, cost, 0.0)
            save_answer(connection, answer)
            connection.execute("DELETE FROM batch_item WHERE key = ?", (item.key,))

    return operation


def free_items(items: Sequence[tuple[Item, str]]) -> Operation[None]:
    """Items that came back without an answer, with the reason: not billed, free to be asked again."""

    def operation(connection: sqlite3.Connection) -> None:
        for item, reason in items:
            _free(connection, [(item.key, item.call)], reason)

    return operation


def _free(
    connection: sqlite3.Connection, rows: Sequence[tuple[bytes, int]], reason: str, maybe_billed: bool = False
) -> None:
    close = lose_call if maybe_billed else void_call
    for key, call in rows:
        close(call, reason)(connection)
        connection.execute("DELETE FROM batch_item WHERE key = ?", (key,))


def _packed(terms: Terms) -> bytes:
    reading = attrs.asdict(terms.reading)
    return orjson.dumps([terms.max_tokens, terms.input_bound, terms.choices, terms.notes, reading, terms.base.hex()])


def _unpacked(terms: bytes, schema: bytes | None) -> Terms:
    max_tokens, input_bound, choices, notes, *later = orjson.loads(terms)
    # Batches that an earlier version submitted have no more than four.
    reading, base = later or ({}, "")
    content = None if schema is None else orjson.loads(schema)
    return Terms(
        max_tokens=max_tokens,
        input_bound=input_bound,
        choices=tuple(choices),
        schema=content,
        notes=tuple(notes),
        reading=Reading(**reading),
        base=bytes.fromhex(base),
    )


def _schema_of(connection: sqlite3.Connection, terms: Terms) -> bytes | None:
    """The hash of a request's schema, which is stored once for all requests that share it."""
    if terms.schema is None:
        return None
    import hashlib

    content = orjson.dumps(terms.schema)
    digest = hashlib.sha256(content).digest()
    connection.execute("INSERT OR IGNORE INTO batch_schema VALUES (?, ?)", (digest, content))
    return digest
