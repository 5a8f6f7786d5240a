"""What people wrote, made fit to stand in a graph's text: no sign of the format is left in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["attribute_texts", "plain_name", "plain_predicate", "plain_sentence"]

_ANGLES: Final = str.maketrans("", "", "<>")
_REGION: Final = re.compile(r"region(?=\d)")
_JOINS: Final = ((" is ", " being "), (" in ", " inside "))


def plain_name(text: str | None) -> str:
    """An object's name on one line, "" for none: without angle brackets, and without the words that join attributes."""
    name = _line(text)
    for word, other in _JOINS:
        while word in name:
            name = name.replace(word, other)
    return name.removesuffix(" is").removesuffix(" in")


def attribute_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Attributes, each once: one that holds commas is several."""
    parts = (_line(part) for text in texts for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def plain_predicate(text: str) -> str:
    """A predicate on one line, in which no region is spelled; commas stay."""
    return _line(_REGION.sub("region ", _line(text))).strip(", ")


def plain_sentence(text: str | None) -> str:
    """A question, an answer or a phrase on one line, "" for none: without angle brackets, else as it was said."""
    return _line(text)


def _line(text: str | None) -> str:
    return " ".join((text or "").translate(_ANGLES).split())
