"""What the fake provider saw and what a vendor would have billed for it."""

from __future__ import annotations

from collections import Counter
from typing import Literal, TypeAlias

import attrs

__all__ = ["Entry", "Ledger", "Result"]

Result: TypeAlias = Literal["answered", "lost", "rejected"]


@attrs.frozen
class Entry:
    """One request: `question` names its body, `result` whether an answer was sent whole, was billed and lost on the
    way, or was refused unbilled. `at` and `done` in seconds of the server's clock."""

    number: int
    at: float
    done: float
    path: str
    model: str
    question: str
    result: Result
    detail: str
    input_tokens: int
    output_tokens: int
    batch: bool = False


@attrs.define
class Ledger:
    """All entries, in order of their ends."""

    entries: list[Entry] = attrs.field(factory=list)
    received: int = 0
    peak_in_flight: int = 0

    @property
    def answered(self) -> int:
        """Requests whose answer was sent whole."""
        return sum(entry.result == "answered" for entry in self.entries)

    @property
    def rejected(self) -> int:
        """Requests refused without a bill."""
        return sum(entry.result == "rejected" for entry in self.entries)

    @property
    def repeated(self) -> dict[str, int]:
        """Questions that were answered more than once, with how often."""
        counts = Counter(entry.question for entry in self.entries if entry.result == "answered")
        return {question: count for question, count in counts.items() if count > 1}

    def billed_usd(self, input_usd: float, output_usd: float, batch_factor: float = 1.0) -> float:
        """What a vendor would bill at these prices per million tokens, lost answers included."""
        return sum(
            (entry.input_tokens * input_usd + entry.output_tokens * output_usd)
            * (batch_factor if entry.batch else 1.0)
            / 1e6
            for entry in self.entries
            if entry.result != "rejected"
        )
