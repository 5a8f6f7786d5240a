"""How long a model's answers really are: what is reserved where its worst case does not fit into a budget any more."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["Sizes"]

_FEWEST: Final = 8
"""Answers after which their sizes say something of the next."""
_HEADROOM: Final = 2
_LEAST: Final = 64


@attrs.define
class Sizes:
    """Output tokens of the whole answers of one model in this process."""

    count: int = 0
    total: int = 0
    largest: int = 0

    def seen(self, tokens: int) -> None:
        """An answer came, whole, of so many tokens."""
        self.count += 1
        self.total += tokens
        self.largest = max(self.largest, tokens)

    @property
    def enough(self) -> int | None:
        """Tokens in which the next answer most likely finds room: twice what the largest took; None if too few came."""
        return max(_LEAST, _HEADROOM * self.largest) if self.count >= _FEWEST else None

    @property
    def usual(self) -> int | None:
        """What an answer takes on average, rounded up; with less it is not worth asking. None if too few came."""
        return -(-self.total // self.count) if self.count >= _FEWEST else None
