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
_DEFAULT_PAUSE_S: Final = 1.0
_MINUTE: Final = 60.0


@attrs.define(eq=False)
class Ticket:
    """The right to make one call: a slot of the gate, with the tokens it was let in for."""

    tokens: int
    sent_at: float = 0.0
    throttled: bool = False
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
        self.peak_in_flight = 0
        self.episodes = 0
        self._tokens_per_minute = tokens_per_minute
        self._rate = _RateWindow(requests_per_minute) if requests_per_minute else None
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
        self.in_flight -= 1
        self._pump()

    def spent(self, ticket: Ticket, tokens: int) -> None:
        """What a call really used of the tokens limit, in place of what was assumed when it was let in."""
        if self._tokens_per_minute is not None and ticket.counted:
            self._spent_tokens += tokens - ticket.tokens
        ticket.tokens = tokens

    def succeeded(self) -> None:
        """An answer came: grow, if the limit was what held calls back."""
        if self.in_flight < 0.8 * self.limit or self._now() < self._frozen_until:
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
            self._episode = _Episode(now, min(max(pause, 1.0), _MINUTE), since)
            self._slow_start = False
            self.limit = max(1.0, self.limit * _CUT)
        self._resume_at = max(self._resume_at, now + pause)
        self._episode.resumed_at = self._resume_at
        self._schedule(self._resume_at - now)

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
        ticket = Ticket(waiter.tokens, now)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self._recent.append(ticket)
        while self._recent[0].sent_at < now - _MINUTE or len(self._recent) > 100_000:
            self._recent.popleft()
        if self._rate is not None:
            self._rate.sent(now)
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
        if self._rate is not None:
            delay = max(delay, self._rate.delay(now))
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
        itself, one within twice its length leaves it between that bound and the pace, a later one just under the pace.
        """
        episode = self._episode
        assert episode is not None
        episode.measured = True
        since = episode.since if self._pace is not None else None
        passed = self._passed(episode.at - episode.window if since is None else since) / episode.window
        stretch = 0.0 if since is None else (episode.at - since) / episode.window
        if self._pace is None or since is None:
            self._pace = _Pace(max(passed, 1 / episode.window) * _MARGIN, now)
        elif stretch < 1:
            self._pace.slow_down(passed, now)
        elif stretch < 2:
            bound = max(self._least_rate, passed / 2)
            self._pace.slow_down(bound + _TRY * (self._pace.rate - bound), now)
        else:
            self._pace.slow_down(self._pace.rate, now)
        if stretch < 2:
            self._least_rate = max(self._least_rate, passed / 2)

    def _passed(self, since: float) -> int:
        return sum(1 for ticket in self._recent if ticket.sent_at >= since and not ticket.throttled)


@attrs.define
class _Episode:
    """One stretch of refusals: when it began, the window it was measured over, where the one before had ended."""

    at: float
    window: float
    since: float | None
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
    """A hard limit of requests per minute as an even one: never more than its share in any stretch of a second.

    Below 60 a minute the stretch is as long as one request's share. So no minute ever holds more than the limit.
    """

    def __init__(self, per_minute: float) -> None:
        self._share = max(1, math.floor(per_minute / _MINUTE))
        self._stretch = self._share * _MINUTE / per_minute
        self._sent: deque[float] = deque()

    def delay(self, now: float) -> float:
        while self._sent and self._sent[0] <= now - self._stretch:
            self._sent.popleft()
        return self._sent[-self._share] + self._stretch - now if len(self._sent) >= self._share else 0.0

    def sent(self, now: float) -> None:
        self._sent.append(now)
