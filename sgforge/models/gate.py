"""How many calls may run and how fast they may start: adaptive concurrency, pacing after a 429, hard rate limits.

Concurrency doubles per round trip until the first 429, then grows by 5 % per clean round. A 429 opens an episode: the
limit is cut once, nothing starts until Retry-After has passed, and calls then start at an even pace just under what
the server let through. Every later 429 of calls that were already under way belongs to the same episode.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

import attrs

from sgforge.models.errors import ModelError

__all__ = ["Gate", "Ticket"]

_START: Final = 32
_CUT: Final = 0.7
_GROWTH: Final = 0.05
_MARGIN: Final = 0.97
"""Pace against the rate the server let through: a little under it, so that an even stream never meets the limit."""
_TRY: Final = 0.25
"""How far above the proven rate the next pace is, towards the one that was refused."""
_HOLD_S: Final = 10.0
_PACE_GROWTH_PER_S: Final = 0.03
_SHORTEST_S: Final = 0.1
_LONG: Final = 20
_MOSTLY: Final = 0.9
_FEWEST: Final = 5
_DEFAULT_PAUSE_S: Final = 1.0
_MINUTE: Final = 60.0


@attrs.define(eq=False)
class Ticket:
    """The right to make one call: a slot of the gate, with the tokens it was let in for."""

    tokens: int
    number: int = 0
    sent_at: float = 0.0
    throttled: bool = False
    answered: bool = False
    counted: bool = False


@attrs.define(eq=False)
class _Waiter:
    future: asyncio.Future[Ticket]
    tokens: int


class Gate:
    """Lets calls to one model start; retries pass in front of new ones."""

    def __init__(
        self,
        max_in_flight: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        start: int | None = None,
    ) -> None:
        self.max_in_flight = max_in_flight
        self.limit = float(min(_START if start is None else start, max_in_flight))
        self.in_flight = 0
        self._started = 0
        self.peak_in_flight = 0
        self.episodes = 0
        self._tokens_per_minute = tokens_per_minute
        self._rates = _windows(requests_per_minute)
        self._spent: deque[Ticket] = deque()
        self._spent_tokens = 0
        self._recent: deque[Ticket] = deque()
        self._waiting: deque[_Waiter] = deque()
        self._front: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._slow_start = True
        self._resume_at = -math.inf
        self._frozen_until = -math.inf
        self._pace: _Pace | None = None
        self._least_rate = 0.0
        self._episode: _Episode | None = None

    async def acquire(self, tokens: int, front: bool = False) -> Ticket:
        """Wait for a slot. `tokens`: the most the call may use; more than a minute's limit is a `ModelError`."""
        if self._tokens_per_minute is not None and tokens > self._tokens_per_minute:
            raise ModelError(
                "too_many_tokens",
                f"one request may use {tokens} tokens, tokens_per_minute is {self._tokens_per_minute:g}: raise the "
                "limit or lower max_tokens",
            )
        waiter = _Waiter(asyncio.get_running_loop().create_future(), tokens)
        (self._front if front else self._waiting).append(waiter)
        self._pump()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled():
                self.release(waiter.future.result())
            self._pump()
            raise

    def release(self, ticket: Ticket) -> None:
        """Give the slot back."""
        ticket.answered = True
        self.in_flight -= 1
        if self._episode is not None and ticket in self._episode.witnesses:
            self._reconsider(self._episode)
        self._pump()

    def sending(self, ticket: Ticket) -> None:
        """The call goes out now, some time after it was let in."""
        ticket.sent_at = self._now()

    def spent(self, ticket: Ticket, tokens: int) -> None:
        """What a call really used of the tokens limit, in place of what was assumed when it was let in."""
        if self._tokens_per_minute is not None and ticket.counted:
            self._spent_tokens += tokens - ticket.tokens
        ticket.tokens = tokens

    def succeeded(self) -> None:
        """An answer came: grow, if the limit was what held calls back."""
        if not self._is_full() or self._now() < self._frozen_until:
            return
        self.limit = min(self.max_in_flight, self.limit + (1.0 if self._slow_start else _GROWTH))

    def struggled(self) -> None:
        """The server failed (5xx, timeout): do not grow for a while, but do not cut either."""
        self._slow_start = False
        self._frozen_until = self._now() + _HOLD_S

    def throttled(self, ticket: Ticket, retry_after: float | None) -> None:
        """The server said 429: one cut per episode, and nothing starts before the time it named."""
        now = self._now()
        pause = _DEFAULT_PAUSE_S if retry_after is None else retry_after
        ticket.throttled = True
        if self._episode is None or ticket.sent_at >= self._episode.resumed_at:
            self.episodes += 1
            since = self._episode.resumed_at if self._episode is not None else None
            window = min(max(pause, _SHORTEST_S), _MINUTE)
            self._episode = _Episode(now, window, since, ticket, self.limit, self._slow_start)
            self._slow_start = False
            if self._pace is None or self._is_full():
                self.limit = max(1.0, self.limit * _CUT)
        self._resume_at = max(self._resume_at, now + pause)
        self._episode.resumed_at = self._resume_at
        self._episode.first = min(self._episode.first, ticket, key=lambda refused: refused.number)
        self._schedule(self._resume_at - now)

    def _is_full(self) -> bool:
        """Whether the limit is what holds calls back, and not the pace or a lack of work."""
        return self.in_flight >= 0.8 * math.floor(self.limit)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _pump(self) -> None:
        """Let in whoever may start now, and wake up again when the next one may."""
        now = self._now()
        if self._episode is not None and not self._episode.measured and now >= self._resume_at:
            self._measure(now)
        while (waiter := self._next()) is not None and self.in_flight < math.floor(self.limit):
            delay = self._delay(now, waiter.tokens)
            if delay > 0:
                self._schedule(delay)
                return
            (self._front if self._front else self._waiting).popleft()
            self._admit(waiter, now)

    def _next(self) -> _Waiter | None:
        for waiting in (self._front, self._waiting):
            while waiting and waiting[0].future.done():
                waiting.popleft()
            if waiting:
                return waiting[0]
        return None

    def _admit(self, waiter: _Waiter, now: float) -> None:
        self._started += 1
        ticket = Ticket(waiter.tokens, self._started, now)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self._recent.append(ticket)
        while self._recent[0].sent_at < now - _MINUTE or len(self._recent) > 100_000:
            self._recent.popleft()
        for rate in self._rates:
            rate.sent(now)
        if self._tokens_per_minute is not None:
            ticket.counted = True
            self._spent.append(ticket)
            self._spent_tokens += ticket.tokens
        if self._pace is not None:
            self._pace.sent(now)
        waiter.future.set_result(ticket)

    def _delay(self, now: float, tokens: int) -> float:
        """Seconds until a call of so many tokens may start."""
        delay = self._resume_at - now
        if self._pace is not None:
            delay = max(delay, self._pace.next_at - now)
        delay = max([delay, *(rate.delay(now) for rate in self._rates)])
        if self._tokens_per_minute is not None:
            delay = max(delay, self._token_delay(now, tokens))
        return delay

    def _token_delay(self, now: float, tokens: int) -> float:
        assert self._tokens_per_minute is not None
        while self._spent and self._spent[0].sent_at <= now - _MINUTE:
            left = self._spent.popleft()
            left.counted = False
            self._spent_tokens -= left.tokens
        missing = self._spent_tokens + tokens - self._tokens_per_minute
        for ticket in self._spent:
            if missing <= 0:
                break
            missing -= ticket.tokens
            if missing <= 0:
                return ticket.sent_at + _MINUTE - now
        return 0.0

    def _schedule(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + max(delay, 0.0) + 1e-4
        if self._timer is not None and not self._timer.cancelled() and loop.time() < self._timer.when() <= when:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(when, self._pump)

    def _measure(self, now: float) -> None:
        """Set the pace after an episode, once all its refusals are in.

        A server that counts in fixed windows of about Retry-After lets at most two windows' worth through before it
        refuses a pace above its rate; so what got through bounds the rate from below by its half. The first time the
        whole of it is tried. After a pause the server's window is empty: a refusal within its length shows the rate
        itself, one within twice its length leaves it between that bound and the pace, a later one just under the pace;
        one after many windows does not speak against the pace at all.
        """
        episode = self._episode
        assert episode is not None
        episode.measured = True
        episode.pace_before = None if self._pace is None else self._pace.rate
        episode.witnesses = {ticket for ticket in self._recent if ticket.number > episode.first.number}
        if self._reconsider(episode):
            return
        since = episode.since if self._pace is not None else None
        began = episode.first.sent_at
        passed = self._passed(began - episode.window if since is None else since) / episode.window
        stretch = 0.0 if since is None else (began - since) / episode.window
        if self._pace is None or since is None:
            self._pace = _Pace(max(passed, 1 / episode.window) * _MARGIN, now)
        elif stretch < 1:
            self._pace.slow_down(passed, now)
        elif stretch < 2:
            bound = max(self._least_rate, passed / 2)
            self._pace.slow_down(bound + _TRY * (self._pace.rate - bound), now)
        elif stretch < _LONG:
            self._pace.slow_down(self._pace.rate, now)
        if stretch < 2:
            self._least_rate = max(self._least_rate, passed / 2)

    def _reconsider(self, episode: _Episode) -> bool:
        """Take the cut back if nearly all calls sent after the first refused one got through: then it was refused by
        chance and no limit was reached. Asked again as these calls end, until they have decided it."""
        witnesses = episode.witnesses
        refused = sum(ticket.throttled for ticket in witnesses)
        if len(witnesses) < _FEWEST or refused > (1 - _MOSTLY) * len(witnesses):
            episode.witnesses = set()
            return False
        if not all(ticket.answered for ticket in witnesses):
            return False
        episode.witnesses = set()
        self._slow_start = episode.slow_start_before
        self.limit = max(self.limit, episode.limit_before)
        if self._pace is not None:
            self._pace = None if episode.pace_before is None else _Pace(episode.pace_before, self._now())
        return True

    def _passed(self, since: float) -> int:
        return sum(1 for ticket in self._recent if ticket.sent_at >= since and not ticket.throttled)


@attrs.define
class _Episode:
    """One stretch of refusals: when it began, the window it is measured over, where the one before had ended, the
    first of its refused calls, and what the limit was."""

    at: float
    window: float
    since: float | None
    first: Ticket
    limit_before: float
    slow_start_before: bool
    pace_before: float | None = None
    witnesses: set[Ticket] = attrs.field(factory=set)
    resumed_at: float = math.inf
    measured: bool = False


class _Pace:
    """An even stream of starts, `rate` per second; it holds for a while after each change, then creeps up."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.next_at = now
        self._grow_from = now + _HOLD_S

    def sent(self, now: float) -> None:
        if now > self._grow_from:
            self.rate *= 1 + _PACE_GROWTH_PER_S * min(now - self._grow_from, 1.0)
            self._grow_from = now
        # A late wake-up is made up for, by at most one start: bursts are what the pace is there to prevent.
        self.next_at = max(self.next_at, now - 1 / self.rate) + 1 / self.rate

    def slow_down(self, rate: float, now: float) -> None:
        """A lower pace, a little under `rate`, at least half of what it was."""
        self.rate = max(min(rate, self.rate) * _MARGIN, self.rate / 2, 1 / _MINUTE)
        self.next_at = now
        self._grow_from = now + _HOLD_S


class _RateWindow:
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


def _windows(per_minute: float | None) -> tuple[_RateWindow, ...]:
    """A hard limit per minute, and its even share of a second (of one request's time, if that is longer)."""
    if per_minute is None:
        return ()
    share = max(1, math.floor(per_minute / _MINUTE))
    even = _RateWindow(share, share * _MINUTE / per_minute)
    return (even, _RateWindow(math.floor(per_minute), _MINUTE)) if per_minute >= 1 else (even,)
