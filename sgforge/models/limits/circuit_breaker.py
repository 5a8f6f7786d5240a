"""What ends all calls of a run at once: a provider that refuses or cannot be reached, or a person who stops it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from sgforge.models.errors import (
    Blame,
    BudgetReachedError,
    ModelError,
    NotSentError,
    ProviderError,
    RunStoppedError,
)
from sgforge.models.limits.retry import reason_of
from sgforge.models.wire.api_keys import redact

__all__ = ["UNREACHED_S", "Guard"]

UNREACHED_S: Final = 20.0
"""A server that never answered and was never reached for so long is taken to be absent, not busy."""


_MENDS: Final[Mapping[Blame, str]] = {
    "account": "check the key, its permissions and the account",
    "model": "check the model's name, and whether the account may use it (a local server must have it loaded)",
    "address": "check base_url (for openai/ and compat/ it mostly ends in /v1, for anthropic/ it does not)",
    "proxy": "check HTTP_PROXY and HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT), or name the server in NO_PROXY",
}


def _answer(error: ProviderError) -> str:
    return "a body that is no answer" if error.status is None else f"HTTP {error.status}"


class Guard:
    """Watches all calls of a gateway; once it has ended, no call begins and none waits for anything any more.

    It ends once, for the first reason there is. `on_end` is called then, to wake whoever waits for a slot, for money
    or for the next try: each of them asks `check`, which raises the reason.
    """

    def __init__(self, most_refusals: int, on_end: Callable[[], None] = lambda: None) -> None:
        self._most = most_refusals
        self._on_end = on_end
        self._in_a_row: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._unreached_since: dict[str, float] = {}
        self._ending: Callable[[], ModelError] | None = None
        self._ended: asyncio.Event | None = None

    def ending(self) -> ModelError | None:
        """Why no call begins any more; None while they do."""
        return None if self._ending is None else self._ending()

    def check(self) -> None:
        """Raise what ended the calls, if anything did."""
        ending = self.ending()
        if ending is not None:
            raise ending

    async def sleep(self, seconds: float) -> None:
        """Wait for the next try, or until the guard ends."""
        if self._ending is not None:
            return
        if self._ended is None:
            self._ended = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass

    def halt(self) -> None:
        """A person stops the run: calls that are not on the wire are not sent; those that are go on."""
        self._end(NotSentError)

    def budget_reached(self, error: BudgetReachedError) -> None:
        """The next call does not fit, and nothing is under way that could make room: no other call begins either."""
        self._end(partial(BudgetReachedError, error.detail))

    def answered(self, model: str) -> None:
        """A call went through."""
        # Only refusals in a row say that every call would be refused: one that got through disproves those before it.
        del self._in_a_row[model]
        self._answered.add(model)

    def refused(self, model: str, error: ProviderError) -> None:
        """An answer that every call to this model would get: no key, no such model, no such address."""
        # Not at the first: a key may be refused for a moment, and one model of several may be the only one refused.
        self._in_a_row[model] += 1
        if error.blame is not None and self._in_a_row[model] >= self._most:
            self._stop(
                reason_of(error),
                f"{model} refused {self._in_a_row[model]} calls in a row with {_answer(error)} "
                f"({redact(str(error))}): {_MENDS[error.blame]}, then run again; finished work is kept",
            )

    def unreached(self, model: str, error: ProviderError, now: float) -> None:
        """A call that never got to its server; one that answered before in this run may come back."""
        since = self._unreached_since.setdefault(model, now)
        # A server that answered once is there: it restarts or is overloaded, and is worth each call's own deadline.
        if model not in self._answered and now - since >= UNREACHED_S:
            self._stop(
                "unreachable",
                f"no call to {model} reached its server in {now - since:.0f} s ({redact(str(error))}): see whether it "
                "runs and whether base_url is right, then run again; finished work is kept",
            )

    def _stop(self, reason: str, detail: str) -> None:
        self._end(partial(RunStoppedError, reason, detail))

    def _end(self, ending: Callable[[], ModelError]) -> None:
        # The first reason stays: what follows (calls that fail because the run is ending) would hide it. A new error is
        # made for each call, as one that is raised in many tasks gathers the traces of all of them.
        if self._ending is not None:
            return
        self._ending = ending
        if self._ended is not None:
            self._ended.set()
        self._on_end()
