"""Anthropic's message batches: requests up in one body, results down as lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from sgforge.models import JSON_OPTIONS, BatchEntry, BatchResult, BatchState

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["cancel", "find", "results", "state", "submit"]

_CLOCK_SLACK_S: Final = 60.0
_REASONS: Final = {"canceled": "cancelled"}


async def submit(client: AsyncAnthropic, lines: Sequence[BatchEntry], tag: str) -> str:
    """Start a batch, without the tag, which the endpoint cannot keep; the body goes out as bytes."""
    rows = [{"custom_id": line.custom_id, "params": line.body} for line in lines]
    content = orjson.dumps({"requests": rows})
    raw: bytes = await client.post("/v1/messages/batches", cast_to=bytes, content=content, options=JSON_OPTIONS)
    remote_id: str = orjson.loads(raw)["id"]
    return remote_id


async def find(client: AsyncAnthropic, tag: str, created_after: float, total: int) -> list[str]:
    """Batches of this size since that time; the endpoint keeps no tag that could tell them apart."""
    found: list[str] = []
    async for batch in client.messages.batches.list(limit=100):
        if batch.created_at.timestamp() < created_after - _CLOCK_SLACK_S:
            break
        if _total(batch) == total:
            found.append(batch.id)
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
    """Lines of an ended batch."""
    async for row in await client.messages.batches.results(remote_id):
        result: Any = row.result
        if result.type == "succeeded":
            yield BatchResult(row.custom_id, orjson.dumps(result.message.to_dict(mode="json")))
        elif result.type == "errored":
            error = result.error.error
            yield BatchResult(row.custom_id, None, getattr(error, "type", "error"), getattr(error, "message", ""))
        else:
            yield BatchResult(row.custom_id, None, _REASONS.get(result.type, result.type))


async def cancel(client: AsyncAnthropic, remote_id: str) -> None:
    """Ask for the end of a batch."""
    await client.messages.batches.cancel(remote_id)


def _total(batch: Any) -> int:
    counts = batch.request_counts
    return int(counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired)
