"""What an evaluation leaves out, counted by reason with a first example each: nothing is skipped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import attrs

__all__ = ["Dropped"]


@attrs.define
class Dropped:
    """Counts by reason, and where the first of each stood."""

    counts: Counter[str] = attrs.field(factory=Counter)
    examples: dict[str, str] = attrs.field(factory=dict)

    def add(self, reason: str, count: int = 1, example: str = "") -> None:
        """Count `count` more of `reason`; none is no entry."""
        if count:
            self.counts[reason] += count
            if example:
                self.examples.setdefault(reason, example)

    def lines(self) -> Iterator[str]:
        """One sentence per reason, in alphabetical order."""
        for reason, count in sorted(self.counts.items()):
            example = self.examples.get(reason)
            yield f"{count} x {reason}" + (f" (first: {example})" if example else "")
