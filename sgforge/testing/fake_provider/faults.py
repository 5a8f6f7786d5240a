"""What goes wrong, and how often: the knobs of the fake provider."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs

__all__ = ["FAULTS", "FakeSettings", "Window", "pick_fault"]

FAULTS: Final = (
    "http_429",
    "http_500",
    "http_529",
    "malformed",
    "half_json",
    "reset",
    "hang",
    "refusal",
    "length",
    "bad_schema",
    "http_400",
)
"""`malformed`: a body that is no JSON; `half_json`: a whole response that ends early; `reset`: the connection is cut
in mid-body; `bad_schema`: an answer that breaks the schema; the rest as their names say."""


@attrs.frozen
class FakeSettings:
    """Knobs. Shares are in [0, 1] and fall on requests by a hash of `seed` and the request's number.

    `latency_s`: of every answer; `slow_share` of them take `slow_s`. `limit`: requests let in per fixed window of
    `window_s` seconds, others get 429 with `retry_after_s` at once; `most_in_flight`: 429 above. `shares`: of each
    fault. `keys`: accepted keys, None accepts any and none. `models`: known models, None knows all. `blind`: models
    that refuse images. `max_image_bytes`: larger images get 400. `with_usage`: tell token counts.
    `batch_delay_s`: from submit to the end of a batch; `batch_error_share`, `batch_expire_share`: of its requests.
    """

    latency_s: float = 0.0
    slow_share: float = 0.0
    slow_s: float = 3.0
    limit: int | None = None
    window_s: float = 1.0
    retry_after_s: float | None = 1.0
    most_in_flight: int | None = None
    shares: Mapping[str, float] = attrs.field(factory=dict)
    hang_s: float = 3600.0
    keys: frozenset[str] | None = None
    models: frozenset[str] | None = None
    blind: frozenset[str] = frozenset()
    max_image_bytes: int | None = None
    with_usage: bool = True
    image_tokens: int = 100
    batch_delay_s: float = 0.0
    batch_error_share: float = 0.0
    batch_expire_share: float = 0.0
    unordered: bool = True
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        unknown = sorted(set(self.shares) - set(FAULTS))
        if unknown:
            raise ValueError(f"unknown faults {', '.join(unknown)}; there are {', '.join(FAULTS)}")


class Window:
    """A fixed window of time that lets so many requests in, aligned to the server's clock."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._current = -1
        self._count = 0

    def admits(self, now: float) -> bool:
        """Count a request at `now`; False if its window is full."""
        window = int(now // self._seconds)
        if window != self._current:
            self._current, self._count = window, 0
        self._count += 1
        return self._count <= self._limit


def chance(seed: int, purpose: str, number: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def pick_fault(settings: FakeSettings, number: int) -> str | None:
    """The fault that request `number` meets, if any."""
    draw = chance(settings.seed, "fault", number)
    for fault, share in settings.shares.items():
        if draw < share:
            return fault
        draw -= share
    return None
