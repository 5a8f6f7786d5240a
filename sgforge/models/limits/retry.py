"""What follows a failed call: another try, the end of the item, or the end of the run."""

from __future__ import annotations

import random
from typing import Final, Literal, TypeAlias

from sgforge.models.errors import ProviderError

__all__ = ["MAX_LOST", "Verdict", "backoff_s", "judge", "reason_of"]

Verdict: TypeAlias = Literal["retry", "fail", "refused"]

MAX_LOST: Final = 4
"""Tries of one request that may each have been billed without an answer; then the item fails."""
_RETRIED: Final = frozenset({408, 409, 429})
_BASE_S: Final = 0.5
_CAP_S: Final = 60.0


def judge(error: ProviderError) -> Verdict:
    """Connection errors, 408, 409, 429 and 5xx (529 too) are tried again; "refused" is what every call would be: keys,
    payment (also as a 429), an unknown model, a wrong address. What is put down to the item is asked once."""
    if error.concerns_item:
        return "fail"
    if error.blame is not None:
        return "refused"
    return "retry" if error.status is None or error.status in _RETRIED or error.status >= 500 else "fail"


def backoff_s(attempt: int, retry_after: float | None, chance: random.Random) -> float:
    """Seconds before try `attempt` + 1: full jitter, doubling from half a second to a minute; never before
    Retry-After (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015)."""
    spread = min(_CAP_S, _BASE_S * 2.0 ** min(attempt, 16))
    if retry_after is None:
        return chance.uniform(0.0, spread)
    # Spread over a tenth of it, not cut off there: calls that were refused together would come back together.
    return retry_after + chance.uniform(0.0, min(spread, 0.1 * retry_after))


def reason_of(error: ProviderError) -> str:
    """The short code an item fails with."""
    return error.reason if error.status is None else f"http_{error.status}"
