"""What a server's 429s say about its limit, and the pace that follows from it."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import attrs

from sgforge.models.limits.rate_limits import MARGIN, MINUTE, Pace, Ticket

__all__ = ["Before", "Throttle"]

_DEFAULT_PAUSE_S: Final = 1.0
_SHORTEST_S: Final = 0.1
_TRY: Final = 0.25
"""How far above the proven rate the next pace is, towards the one that was refused."""
_LONG: Final = 20
_MOSTLY: Final = 0.9
_FEWEST: Final = 5
_REMEMBERED: Final = 100_000


@attrs.frozen
class Before:
    """Concurrency as it was before an episode: its limit, and whether it was still doubling."""

    limit: float
    slow_start: bool


@attrs.define
class _Episode:
    """One stretch of refusals: the window it is measured over, where the one before had ended, the first of its
    refused calls, what was before it, and the calls sent after that first one, which can still speak against it."""

    window: float
    since: float | None
    first: Ticket
    before: Before
    pace_before: float | None
    resumed_at: float = math.inf
    measured: bool = False
    witnesses: set[Ticket] = attrs.field(factory=set)


class Throttle:
    """Turns refusals into episodes, each with one pause, and episodes into a pace."""

    def __init__(self) -> None:
        self.episodes = 0
        self.resume_at = -math.inf
        self.pace: Pace | None = None
        self._least_rate = 0.0
        self._recent: deque[Ticket] = deque()
        self._episode: _Episode | None = None

    def sent(self, ticket: Ticket, now: float) -> None:
        """A call was let in."""
        self._recent.append(ticket)
        # A minute is the longest window that is measured; the bound is for a server in process that answers at once.
        while self._recent[0].sent_at < now - MINUTE or len(self._recent) > _REMEMBERED:
            self._recent.popleft()
        if self.pace is not None:
            self.pace.sent(now)

    def refused(self, ticket: Ticket, retry_after: float | None, now: float, before: Before) -> bool:
        """A 429; True if it opens an episode. Those of calls sent before the last pause belong to the last one."""
        # Marked also where it opens nothing: it is a call that did not get through, whichever episode counts it.
        ticket.throttled = True
        pause = _DEFAULT_PAUSE_S if retry_after is None else retry_after
        episode = self._episode
        # Calls that were sent before the pause began are refused for the same reason: one wave is one episode, or a
        # hundred calls in flight would cut the limit a hundred times.
        opens = episode is None or ticket.sent_at >= episode.resumed_at
        if episode is None or opens:
            self.episodes += 1
            since = None if episode is None else episode.resumed_at
            pace = None if self.pace is None else self.pace.rate
            window = min(max(pause, _SHORTEST_S), MINUTE)
            episode = self._episode = _Episode(
                window=window, since=since, first=ticket, before=before, pace_before=pace
            )
        # Never earlier than another refusal asked for: the longest wait of a wave holds for all.
        self.resume_at = episode.resumed_at = max(self.resume_at, now + pause)
        # Refusals do not come in the order of their calls; what passed is counted up to the first call that did not.
        episode.first = min(episode.first, ticket, key=lambda refused: refused.number)
        return opens

    def measure(self, now: float) -> Before | None:
        """Set the pace once a pause is over and all its refusals are in; see `reconsider` for what is returned.

        A server that counts in fixed windows of about Retry-After lets at most two windows' worth through before it
        refuses a pace above its rate; so what got through bounds the rate from below by its half. The first time the
        whole of it is tried. After a pause the server's window is empty: a refusal within its length shows the rate
        itself, one within twice its length leaves it between that bound and the pace, a later one just under the pace;
        one after many windows does not speak against the pace at all.
        """
        episode = self._episode
        if episode is None or episode.measured or now < self.resume_at:
            return None
        # Once an episode: later refusals of the same wave would be measured against a pace they never saw.
        episode.measured = True
        episode.witnesses = {ticket for ticket in self._recent if ticket.number > episode.first.number}
        before = self._reconsider(episode, now)
        if before is None:
            self._set_pace(episode, now)
        return before

    def ended(self, ticket: Ticket, now: float) -> Before | None:
        """A call has ended; what was before the last episode, if this shows that it was no limit."""
        if self._episode is None or ticket not in self._episode.witnesses:
            return None
        return self._reconsider(self._episode, now)

    def _set_pace(self, episode: _Episode, now: float) -> None:
        began = episode.first.sent_at
        if self.pace is None or episode.since is None:
            passed = self._passed(began - episode.window) / episode.window
            self.pace = Pace(max(passed, 1 / episode.window) * MARGIN, now)
            # A floor for all that follows. One window may have let two windows' worth through, so only half is proven.
            self._least_rate = max(self._least_rate, passed / 2)
            return
        passed = self._passed(episode.since) / episode.window
        stretch = (began - episode.since) / episode.window
        if stretch < 1:
            self.pace.slow_down(passed, now)
        elif stretch < 2:
            bound = max(self._least_rate, passed / 2)
            self.pace.slow_down(bound + _TRY * (self.pace.rate - bound), now)
        elif stretch < _LONG:
            self.pace.slow_down(self.pace.rate, now)
        if stretch < 2:
            self._least_rate = max(self._least_rate, passed / 2)

    def _reconsider(self, episode: _Episode, now: float) -> Before | None:
        """Nearly all calls sent after the first refused one got through: then that was chance, no limit was reached,
        and what was before is to be restored. Asked again as these calls end, until they have decided it."""
        witnesses = episode.witnesses
        refused = sum(ticket.throttled for ticket in witnesses)
        # Too few to tell chance from a limit, or too many refused for chance: it stands, and is not asked again.
        if len(witnesses) < _FEWEST or refused > (1 - _MOSTLY) * len(witnesses):
            episode.witnesses = set()
            return None
        if not all(ticket.answered for ticket in witnesses):  # those under way may still be refused
            return None
        episode.witnesses = set()
        self.pace = None if episode.pace_before is None else Pace(episode.pace_before, now)
        return episode.before

    def _passed(self, since: float) -> int:
        return sum(1 for ticket in self._recent if ticket.sent_at >= since and ticket.got_through)
