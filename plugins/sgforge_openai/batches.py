"""OpenAI's batch endpoint: a file of requests up, files of answers and of errors down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from sgforge.models import UNREADABLE, BatchEntry, BatchResult, BatchState, read_json, token_count

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["cancel", "find", "results", "state", "submit"]

_TAG: Final = "sgforge"
_ENDPOINT: Final = "/v1/chat/completions"
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_REASONS: Final = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
_MOST_LOOKED_AT: Final = 2000
"""Batches among which one is looked for; no account starts more between a submit and the next run."""


async def submit(client: AsyncOpenAI, lines: Sequence[BatchEntry], tag: str) -> str:
    """Upload and start; the tag goes along as metadata, so a submit whose answer was lost can be found again."""
    rows = (
        orjson.dumps({"custom_id": line.custom_id, "method": "POST", "url": _ENDPOINT, "body": line.body})
        for line in lines
    )
    upload = await client.files.create(file=(f"{tag}.jsonl", b"\n".join(rows)), purpose="batch")
    batch = await client.batches.create(
        input_file_id=upload.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_TAG: tag}
    )
    return batch.id


async def find(client: AsyncOpenAI, tag: str, created_after: float, total: int) -> list[str]:
    """The batch with this tag, which needs no `total`, among the newest; their times are of another clock than ours."""
    looked_at = 0
    async for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get(_TAG) == tag:
            return [batch.id]
        looked_at += 1
        if looked_at == _MOST_LOOKED_AT:
            break
    return []


async def state(client: AsyncOpenAI, remote_id: str) -> BatchState:
    """The vendor's status and counts."""
    batch = await client.batches.retrieve(remote_id)
    counts = batch.request_counts
    total, done, failed = (counts.total, counts.completed, counts.failed) if counts else (0, 0, 0)
    return BatchState(
        remote_id=remote_id,
        status=batch.status,
        ended=batch.status in _ENDED,
        total=total,
        succeeded=done,
        failed=failed,
    )


async def results(client: AsyncOpenAI, remote_id: str) -> AsyncIterator[BatchResult]:
    """Lines of the output file and of the error file; an expired or cancelled batch has what was done."""
    batch = await client.batches.retrieve(remote_id)
    for name in (batch.output_file_id, batch.error_file_id):
        if not name:  # also "", which names no file
            continue
        content = await client.files.content(name)
        for line in content.content.splitlines():
            if line.strip():
                yield _result(line)


async def cancel(client: AsyncOpenAI, remote_id: str) -> None:
    """Ask for the end of a batch."""
    await client.batches.cancel(remote_id)


def _result(line: bytes) -> BatchResult:
    """One line; what cannot be told apart from others has no custom_id."""
    try:
        row = read_json(line)
    except ValueError as fault:
        return BatchResult("", None, UNREADABLE, str(fault))
    if not isinstance(row, Mapping) or not isinstance(row.get("custom_id"), str):
        return BatchResult("", None, UNREADABLE, "a line without custom_id")
    response, error = _object(row.get("response")), _object(row.get("error"))
    status = token_count(response.get("status_code"))
    if status is not None and 200 <= status < 300:
        return BatchResult(row["custom_id"], orjson.dumps(response.get("body")))
    if error:
        code = error.get("code")
        code = code if isinstance(code, str) and code else "error"
        return BatchResult(row["custom_id"], None, _REASONS.get(code, code), str(error.get("message") or ""))
    detail = _object(_object(response.get("body")).get("error")).get("message") or ""
    return BatchResult(row["custom_id"], None, f"http_{status}", str(detail))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
