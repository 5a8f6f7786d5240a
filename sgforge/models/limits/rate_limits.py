"""Rates of starting calls: an even pace, hard limits of requests and of tokens."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import attrs

__all__ = ["MARGIN", "MINUTE", "Pace", "RateWindow", "Ticket", "TokenWindow", "request_windows"]

MINUTE: Final = 60.0
MARGIN: Final = 0.97
"""Pace against the rate a server let through: a little under it, so that an even stream never meets the limit."""
_HOLD_S: Final = 10.0
_GROWTH_PER_S: Final = 0.03


@attrs.define(eq=False)
class Ticket:
    """The right to make one call: a slot of the gate, with the tokens it was let in for. `number` counts tickets;
    `sent_at` is when it was let in until it goes out (`is_sent`), some time after."""

    tokens: int
    number: int = 0
    sent_at: float = 0.0
    is_sent: bool = False
    throttled: bool = False
    answered: bool = False

    @property
    def got_through(self) -> bool:
        """Whether the server took the call, as far as is known: it is not one that was let in and given up unsent."""
        return not self.throttled and (self.is_sent or not self.answered)


class Pace:
    """An even stream of starts, `rate` per second; it holds for a while after each change, then creeps up."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.next_at = now
        self._grow_from = now + _HOLD_S

    def sent(self, now: float) -> None:
        """One has started."""
        if now > self._grow_from:
            self.rate *= 1 + _GROWTH_PER_S * min(now - self._grow_from, 1.0)
            self._grow_from = now
        # A late wake-up is made up for, by at most one start: bursts are what the pace is there to prevent.
        self.next_at = max(self.next_at, now - 1 / self.rate) + 1 / self.rate

    def slow_down(self, rate: float, now: float) -> None:
        """A lower pace, a little under `rate`, at least half of what it was."""
        self.rate = max(min(rate, self.rate) * MARGIN, self.rate / 2, 1 / MINUTE)
        self.next_at = now
        self._grow_from = now + _HOLD_S


class RateWindow:
    """At most `share` starts in any stretch of so many seconds."""

    def __init__(self, share: int, stretch: float) -> None:
        self._share = share
        self._stretch = stretch
        self._sent: deque[float] = deque()

    def delay(self, now: float) -> float:
        """Seconds until one more may start."""
        while self._sent and self._sent[0] <= now - self._stretch:
            self._sent.popleft()
        return self._sent[-self._share] + self._stretch - now if len(self._sent) >= self._share else 0.0

    def sent(self, now: float) -> None:
        """One has started."""
        self._sent.append(now)


def request_windows(per_minute: float | None) -> tuple[RateWindow, ...]:
    """A hard limit per minute, and its even share of a second (of one request's time, if that is longer)."""
    if per_minute is None:
        return ()
    share = max(1, math.floor(per_minute / MINUTE))
    even = RateWindow(share, share * MINUTE / per_minute)
    return (even, RateWindow(math.floor(per_minute), MINUTE)) if per_minute >= 1 else (even,)


class TokenWindow:
    """At most so many tokens in any minute: what calls were let in for, corrected to what they used."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._entries: deque[tuple[float, Ticket]] = deque()
        self._inside: set[Ticket] = set()
        self._total = 0

    def delay(self, now: float, tokens: int) -> float:
        """Seconds until a call of so many tokens may start."""
        while self._entries and self._entries[0][0] <= now - MINUTE:
            _, left = self._entries.popleft()
            self._inside.discard(left)
            self._total -= left.tokens
        missing = self._total + tokens - self.per_minute
        for at, ticket in self._entries:
            if missing <= 0:
                return 0.0
            missing -= ticket.tokens
            if missing <= 0:
                return at + MINUTE - now
        return 0.0

    def sent(self, now: float, ticket: Ticket) -> None:
        """A call has started."""
        self._entries.append((now, ticket))
        self._inside.add(ticket)
        self._total += ticket.tokens

    def spent(self, ticket: Ticket, tokens: int) -> None:
        """What it really used."""
        if ticket in self._inside:
            self._total += tokens - ticket.tokens
            ticket.tokens = tokens
