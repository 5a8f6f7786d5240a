"""Small words of messages: counts with their noun, ordinals, articles."""

from __future__ import annotations

import reprlib

__all__ = ["counted", "ordinal", "shortened", "with_article"]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2 images`; the plural is the noun with an s where none is given."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`, of a number from 0."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def with_article(noun: str) -> str:
    """`a filter`, `an editor`; by the first letter, not by sound (an hour, a unit)."""
    return f"{'an' if noun[:1].lower() in tuple('aeiou') else 'a'} {noun}"


def shortened(value: object) -> str:
    """The repr of any value as a message can hold it: long ones lose their middle."""
    return reprlib.repr(value)
