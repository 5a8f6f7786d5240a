"""What follows a failed call: another try, the end of the item, or the end of the run."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Literal, TypeAlias

import orjson

from sgforge.models.errors import ProviderError

__all__ = ["MAX_LOST", "Verdict", "backoff_s", "judge", "message_of", "reason_of", "retry_after_s"]

Verdict: TypeAlias = Literal["retry", "fail", "refused"]

MAX_LOST: Final = 4
"""Tries of one request that may each have been billed without an answer; then the item fails."""
_RETRIED: Final = frozenset({408, 409, 429})
_REFUSED: Final = frozenset({401, 402, 403})
_BASE_S: Final = 0.5
_CAP_S: Final = 60.0
_MESSAGE: Final = 400


def judge(error: ProviderError) -> Verdict:
    """Connection errors, 408, 409, 429 and 5xx (529 too) are tried again; keys and payment are "refused"."""
    if error.status is None or error.status in _RETRIED or error.status >= 500:
        return "retry"
    return "refused" if error.status in _REFUSED else "fail"


def backoff_s(attempt: int, retry_after: float | None, chance: random.Random) -> float:
    """Seconds before try `attempt` + 1: full jitter, doubling from half a second to a minute; never before
    Retry-After (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015)."""
    jittered = chance.uniform(0.0, min(_CAP_S, _BASE_S * 2.0 ** min(attempt, 16)))
    return jittered if retry_after is None else retry_after + min(jittered, 0.1 * retry_after)


def reason_of(error: ProviderError) -> str:
    """The short code an item fails with."""
    return error.reason if error.status is None else f"http_{error.status}"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response's headers ask to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("retry-after")
    for text, unit in ((milliseconds, 1e-3), (seconds, 1.0)):
        try:
            if text is not None and (value := float(text)) >= 0 and math.isfinite(value):
                return value * unit
        except ValueError:
            continue
    try:
        return max(0.0, parsedate_to_datetime(seconds or "").timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def message_of(body: bytes) -> str:
    """What an error response says, short: its `error.message`, else the start of its text."""
    try:
        content = orjson.loads(body)
        error = content.get("error", content)
        message = error.get("message") if isinstance(error, dict) else error
        if isinstance(message, str):
            return message[:_MESSAGE]
    except (ValueError, AttributeError):
        pass
    return body[:_MESSAGE].decode("utf-8", "replace")
