"""What a source came across and kept, counted while it reads, told at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

__all__ = ["Tally"]


class Tally:
    """Counts by sentence, in the order in which the sentences were first needed."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, what: str, number: int = 1) -> None:
        """Count something that should be known."""
        if number:
            self._counts[what] += number

    def remarks(self) -> Iterator[str]:
        """One sentence for each thing that was met."""
        return (f"{what}: {number}" for what, number in self._counts.items())
