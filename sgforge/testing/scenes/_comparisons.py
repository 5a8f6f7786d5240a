"""What only pixels tell of two things: how their paint compares. Neither labels nor boxes give it away.

- same colour as: the same colour's name.
- same pattern as: the same texture, if it is not plain.
- paler than: the colour's luminance is higher by at least 0.2 (of 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sgforge.testing.scenes._groups import Fact
from sgforge.testing.scenes._things import COLOURS, Thing

__all__ = ["comparisons", "luminance"]

_PALER: Final = 0.2


def comparisons(things: Sequence[Thing]) -> Iterator[Fact]:
    """Every comparison that holds between two things."""
    for a, thing in enumerate(things):
        for b, other in enumerate(things):
            if a == b:
                continue
            if thing.colour == other.colour:
                yield Fact(a, "same colour as", b, "unknown")
            if thing.texture == other.texture != "plain":
                yield Fact(a, "same pattern as", b, "unknown")
            if luminance(thing.colour) - luminance(other.colour) >= _PALER:
                yield Fact(a, "paler than", b, "unknown")


def luminance(colour: str) -> float:
    """Of a named colour, in [0, 1] (ITU-R BT.601)."""
    red, green, blue = COLOURS[colour]
    return 0.299 * red + 0.587 * green + 0.114 * blue
