"""How many calls may run and how fast they may start: adaptive concurrency, pacing after a 429, hard rate limits.

Concurrency doubles per round trip until the first 429, then grows by 5 % per clean round. A 429 opens an episode: the
limit is cut once, nothing starts until Retry-After has passed, and calls then start at an even pace just under what
the server let through. Every later 429 of calls that were already under way belongs to the same episode.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

import attrs

from sgforge.models.errors import ModelError
from sgforge.models.limits.rate_limits import Ticket, TokenWindow, request_windows
from sgforge.models.limits.throttle import Before, Throttle

__all__ = ["Gate", "Ticket"]

_START: Final = 32
_CUT: Final = 0.7
_GROWTH: Final = 0.05
_FULL: Final = 0.8
_FROZEN_S: Final = 10.0
_TICK_S: Final = 1e-4


@attrs.define(eq=False)
class _Waiter:
    future: asyncio.Future[Ticket]
    tokens: int


@attrs.define(eq=False)
class _Slot:
    """One turn at the gate; the tokens of a call that was let in and never went out are given back with the slot."""

    gate: Gate
    tokens: int
    front: bool
    ticket: Ticket | None = None

    async def __aenter__(self) -> Ticket:
        self.ticket = await self.gate.acquire(self.tokens, self.front)
        return self.ticket

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.ticket is not None
        if not self.ticket.is_sent:
            self.gate.spent(self.ticket, 0)
        self.gate.release(self.ticket)


class Gate:
    """Lets calls to one model start; retries pass in front of new ones."""

    def __init__(
        self,
        max_in_flight: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        start: int = _START,
    ) -> None:
        self.max_in_flight = max_in_flight
        self.limit = float(min(start, max_in_flight))
        self.in_flight = 0
        self._throttle = Throttle()
        self._rates = request_windows(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else TokenWindow(tokens_per_minute)
        self._started = 0
        self._waiting: deque[_Waiter] = deque()
        self._front: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._slow_start = True
        self._frozen_until = -math.inf
        self._closed: Callable[[], ModelError] | None = None

    @property
    def episodes(self) -> int:
        """How often the server's limit was met."""
        return self._throttle.episodes

    async def acquire(self, tokens: int, front: bool = False) -> Ticket:
        """Wait for a slot. `tokens`: the most the call may use; more than a minute's limit is a `ModelError`."""
        if self._closed is not None:
            raise self._closed()
        if self._tokens is not None and tokens > self._tokens.per_minute:
            raise ModelError(
                "too_many_tokens",
                f"one request may use {tokens} tokens, tokens_per_minute is {self._tokens.per_minute:g}: raise the "
                "limit or lower max_tokens",
            )
        # Also where a slot is free: whoever waits already, behind a pace or a rate, was first.
        waiter = _Waiter(asyncio.get_running_loop().create_future(), tokens)
        (self._front if front else self._waiting).append(waiter)
        self._pump()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            future = waiter.future
            # Let in and cancelled in the same moment: nobody else knows of the slot, so it is given back here.
            if future.done() and not future.cancelled() and future.exception() is None:
                self.spent(future.result(), 0)
                self.release(future.result())
            # It may have been the one that all others stood behind.
            self._pump()
            raise

    def slot(self, tokens: int, front: bool = False) -> _Slot:
        """`acquire` and `release` as an `async with`, however the call in it ends."""
        return _Slot(self, tokens, front)

    def close(self, reason: Callable[[], ModelError]) -> None:
        """Let nobody in any more: whoever waits, and whoever comes, gets this error. Calls that are in go on."""
        self._closed = reason
        # Each gets an error of its own; emptied, so that no later look lets anybody of them in.
        for waiter in (*self._front, *self._waiting):
            if not waiter.future.done():
                waiter.future.set_exception(reason())
        self._front.clear()
        self._waiting.clear()

    def release(self, ticket: Ticket) -> None:
        """Give the slot back."""
        ticket.answered = True
        self.in_flight -= 1
        self._restore(self._throttle.ended(ticket, self._now()))
        self._pump()

    def sending(self, ticket: Ticket) -> None:
        """The call goes out now, some time after it was let in."""
        ticket.is_sent = True
        ticket.sent_at = self._now()

    def spent(self, ticket: Ticket, tokens: int) -> None:
        """What a call really used of the tokens limit, in place of what was assumed when it was let in."""
        if self._tokens is not None:
            self._tokens.spent(ticket, tokens)

    def succeeded(self) -> None:
        """An answer came: grow, if the limit was what held calls back."""
        # An answer while half of the slots are idle says nothing of what the server would do with more.
        if self._is_full() and self._now() >= self._frozen_until:
            self.limit = min(self.max_in_flight, self.limit + (1.0 if self._slow_start else _GROWTH))

    def struggled(self) -> None:
        """The server failed (5xx, timeout): do not grow for a while, but do not cut either."""
        # Trouble has many reasons beside load, and a cut for each would end at one call at a time.
        self._slow_start = False
        self._frozen_until = self._now() + _FROZEN_S

    def throttled(self, ticket: Ticket, retry_after: float | None) -> None:
        """The server said 429: one cut per episode, and nothing starts before the time it named."""
        now = self._now()
        if self._throttle.refused(ticket, retry_after, now, Before(self.limit, self._slow_start)):
            self._slow_start = False
            # With a pace, starts are what the server counts; concurrency is cut only where it was what it met.
            if self._throttle.pace is None or self._is_full():
                self.limit = max(1.0, self.limit * _CUT)
        self._schedule(self._throttle.resume_at - now)

    def _restore(self, before: Before | None) -> None:
        if before is not None:
            # The refusal was chance: what it cut is given back, what has grown since is kept.
            self._slow_start = before.slow_start
            self.limit = max(self.limit, before.limit)

    def _is_full(self) -> bool:
        """Whether the limit is what holds calls back, and not the pace or a lack of work."""
        return self.in_flight >= _FULL * math.floor(self.limit)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _pump(self) -> None:
        """Let in whoever may start now, and wake up again when the next one may."""
        now = self._now()
        # First of all, so that nobody is let in at the pace from before a pause that is just over.
        self._restore(self._throttle.measure(now))
        while (waiter := self._next()) is not None and self.in_flight < math.floor(self.limit):
            delay = self._delay(now, waiter.tokens)
            # The first in line waits for its tokens, and all behind it: small calls that passed it would starve it.
            if delay > 0:
                self._schedule(delay)
                return
            (self._front if self._front else self._waiting).popleft()
            self._admit(waiter, now)

    def _next(self) -> _Waiter | None:
        for waiting in (self._front, self._waiting):
            while waiting and waiting[0].future.done():  # cancelled: only found out when it would be its turn
                waiting.popleft()
            if waiting:
                return waiting[0]
        return None

    def _admit(self, waiter: _Waiter, now: float) -> None:
        self._started += 1
        ticket = Ticket(waiter.tokens, self._started, now)
        self.in_flight += 1
        self._throttle.sent(ticket, now)
        for rate in self._rates:
            rate.sent(now)
        if self._tokens is not None:
            self._tokens.sent(now, ticket)
        waiter.future.set_result(ticket)

    def _delay(self, now: float, tokens: int) -> float:
        """Seconds until a call of so many tokens may start."""
        delays = [self._throttle.resume_at - now, *(rate.delay(now) for rate in self._rates)]
        if self._throttle.pace is not None:
            delays.append(self._throttle.pace.next_at - now)
        if self._tokens is not None:
            delays.append(self._tokens.delay(now, tokens))
        return max(delays)

    def _schedule(self, delay: float) -> None:
        """Look again after a delay; an earlier look that is already due does it too."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(delay, 0.0) + _TICK_S
        if self._timer is not None:
            # One timer for all: each look arranges the next one, so an earlier one that is still to come is enough.
            if loop.time() < self._timer.when() <= when and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._pump)
