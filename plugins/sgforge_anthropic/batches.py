"""Anthropic's message batches: requests up in one body, results down as lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from sgforge.models import JSON_OPTIONS, UNREADABLE, BatchEntry, BatchResult, BatchState, read_json

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["cancel", "find", "results", "state", "submit"]

_MOST_LOOKED_AT: Final = 500
"""Batches among which one is looked for."""
_REASONS: Final = {"canceled": "cancelled"}


async def submit(client: AsyncAnthropic, lines: Sequence[BatchEntry], tag: str) -> str:
    """Start a batch, without the tag, which the endpoint cannot keep; the body goes out as bytes."""
    rows = [{"custom_id": line.custom_id, "params": line.body} for line in lines]
    content = orjson.dumps({"requests": rows})
    raw: bytes = await client.post("/v1/messages/batches", cast_to=bytes, content=content, options=JSON_OPTIONS)
    remote_id: str = orjson.loads(raw)["id"]
    return remote_id


async def find(client: AsyncAnthropic, tag: str, created_after: float, total: int) -> list[str]:
    """Batches of this size among the newest; the endpoint keeps no tag that could tell them apart, and their times are
    of another clock than ours."""
    found: list[str] = []
    looked_at = 0
    async for batch in client.messages.batches.list(limit=100):
        looked_at += 1
        if _total(batch) == total:
            found.append(batch.id)
        if looked_at == _MOST_LOOKED_AT:
            break
    return found


async def state(client: AsyncAnthropic, remote_id: str) -> BatchState:
    """The vendor's status and counts."""
    batch = await client.messages.batches.retrieve(remote_id)
    counts = batch.request_counts
    failed = counts.errored + counts.canceled + counts.expired
    ended = batch.processing_status == "ended"
    return BatchState(
        remote_id=remote_id,
        status=batch.processing_status,
        ended=ended,
        total=_total(batch),
        succeeded=counts.succeeded,
        failed=failed,
    )


async def results(client: AsyncAnthropic, remote_id: str) -> AsyncIterator[BatchResult]:
    """Lines of an ended batch, read one by one: what is wrong with one says nothing of the others.

    The address is made here and not taken from the batch, as the key goes along.
    """
    address = f"/v1/messages/batches/{quote(remote_id, safe='')}/results"
    content: bytes = await client.get(address, cast_to=bytes)
    for line in content.splitlines():
        if line.strip():
            yield _result(line)


async def cancel(client: AsyncAnthropic, remote_id: str) -> None:
    """Ask for the end of a batch."""
    await client.messages.batches.cancel(remote_id)


def _result(line: bytes) -> BatchResult:
    """One line; what cannot be told apart from others has no custom_id."""
    try:
        row = read_json(line)
    except ValueError as fault:
        return BatchResult("", None, UNREADABLE, str(fault))
    if not isinstance(row, Mapping) or not isinstance(row.get("custom_id"), str):
        return BatchResult("", None, UNREADABLE, "a line without custom_id")
    result = _object(row.get("result"))
    kind = str(result.get("type") or "error")
    if kind == "succeeded":
        return BatchResult(row["custom_id"], orjson.dumps(result.get("message")))
    error = _object(_object(result.get("error")).get("error"))
    if kind == "errored":
        reason = str(error.get("type") or "error")
        return BatchResult(row["custom_id"], None, reason, str(error.get("message") or ""))
    return BatchResult(row["custom_id"], None, _REASONS.get(kind, kind))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _total(batch: Any) -> int:
    counts = batch.request_counts
    return int(counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired)
