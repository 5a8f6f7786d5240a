"""What ends all calls of a run at once: a provider that refuses or cannot be reached, or a person who stops it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final

from sgforge.models.errors import Blame, ProviderError, RunStoppedError
from sgforge.models.keychain import redact
from sgforge.models.retry import reason_of

__all__ = ["UNREACHED_S", "Guard"]

UNREACHED_S: Final = 20.0
"""A server that never answered and was never reached for so long is taken to be absent, not busy."""


_MENDS: Final[Mapping[Blame, str]] = {
    "account": "check the key, its permissions and the account",
    "model": "check the model's name, and whether the account may use it (a local server must have it loaded)",
    "address": "check base_url (for openai/ and compat/ it mostly ends in /v1, for anthropic/ it does not)",
}


class Guard:
    """Watches all calls of a gateway; once it has ended, no call begins and none waits for another try."""

    def __init__(self, most_refusals: int) -> None:
        self._most = most_refusals
        self._in_a_row: Counter[str] = Counter()
        self._stopped: RunStoppedError | None = None
        self._answered: set[str] = set()
        self._unreached_since: dict[str, float] = {}
        self._is_halted = False
        self._ended: asyncio.Event | None = None

    @property
    def is_ended(self) -> bool:
        """Whether waiting for another try is pointless."""
        return self._is_halted or self._stopped is not None

    def check(self) -> None:
        """Raise what stopped the run, if anything did."""
        if self._stopped is not None:
            raise self._stopped

    async def sleep(self, seconds: float) -> None:
        """Wait for the next try, or until the guard ends."""
        if self.is_ended:
            return
        if self._ended is None:
            self._ended = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass

    def halt(self) -> None:
        """A person stops the run: calls that wait for another try end as they are; those under way go on."""
        self._is_halted = True
        self._wake()

    def answered(self, model: str) -> None:
        """A call went through."""
        del self._in_a_row[model]
        self._answered.add(model)

    def refused(self, model: str, error: ProviderError) -> None:
        """An answer that every call to this model would get: no key, no such model, no such address."""
        self._in_a_row[model] += 1
        if error.blame is not None and self._in_a_row[model] >= self._most:
            self._stop(
                reason_of(error),
                f"{model} refused {self._in_a_row[model]} calls in a row with HTTP {error.status} "
                f"({redact(str(error))}): {_MENDS[error.blame]}, then run again; finished work is kept",
            )

    def unreached(self, model: str, error: ProviderError, now: float) -> None:
        """A call that never got to its server; one that answered before in this run may come back."""
        since = self._unreached_since.setdefault(model, now)
        if model not in self._answered and now - since >= UNREACHED_S:
            self._stop(
                "unreachable",
                f"no call to {model} reached its server in {now - since:.0f} s ({redact(str(error))}): see whether it "
                "runs and whether base_url is right, then run again; finished work is kept",
            )

    def _stop(self, reason: str, detail: str) -> None:
        self._stopped = RunStoppedError(reason, detail)
        self._wake()

    def _wake(self) -> None:
        if self._ended is not None:
            self._ended.set()
