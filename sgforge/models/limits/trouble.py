"""Trouble with a provider, told while the run goes on: how many tries failed and why, now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs

from sgforge.models.errors import ProviderError
from sgforge.models.limits.retry import reason_of

__all__ = ["Tell", "Trouble"]

Tell = Callable[[str], None]
"""Takes one line for people."""

_EVERY_S: Final = 5.0
"""Seconds between two lines about one model."""
_FEWEST: Final = 3
"""A try or two that fail are what retries are for."""


@attrs.define
class _Untold:
    reasons: Counter[str] = attrs.field(factory=Counter)
    told_at: float | None = None


class Trouble:
    """Counts failed tries by model and reason; `tell` hears of them at most once every few seconds a model."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._models: dict[str, _Untold] = {}

    def failed(self, model: str, error: ProviderError, now: float) -> None:
        """One try failed, at `now` on the clock of the event loop."""
        if self._tell is None:
            return
        untold = self._models.setdefault(model, _Untold())
        untold.reasons[_words(error)] += 1
        count = untold.reasons.total()
        if count < _FEWEST or (untold.told_at is not None and now - untold.told_at < _EVERY_S):
            return
        reasons = untold.reasons.most_common()
        told = reasons[0][0] if len(reasons) == 1 else ", ".join(f"{reason} ({number})" for reason, number in reasons)
        self._tell(f"{model}: {count} tries failed with {told}")
        self._models[model] = _Untold(told_at=now)


def _words(error: ProviderError) -> str:
    return f"HTTP {error.status}" if error.status is not None else _NAMES.get(reason_of(error), reason_of(error))


_NAMES: Final = {"timeout": "no answer in time", "malformed": "what is no answer", "connection": "no connection"}
