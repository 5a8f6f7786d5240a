"""The word of a judge that was asked for yes or no, as models write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

__all__ = ["degree_of_word"]

_THOUGHT: Final = re.compile(r"^.*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_UNFINISHED: Final = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_TAG: Final = re.compile(r"</?[a-z_]+>", re.IGNORECASE)
_FENCE: Final = re.compile(r"```[a-z]*", re.IGNORECASE)
_LEAD: Final = re.compile(r"^(?:(?:the|my|final)\s+)*(?:answer|verdict)\s*(?:is\b|:|=)?[\s:=]*", re.IGNORECASE)
_WORD: Final = re.compile(r"(yes|no)(?![a-z0-9'])", re.IGNORECASE)
_MARKUP: Final = " \t\r\n\ufeff*_\"'`#>([{.,:;!-"
_DEGREES: Final[Mapping[str, float]] = {"yes": 1.0, "no": 0.0}


def degree_of_word(text: str) -> float | None:
    """1 for an answer whose first word is yes, 0 for no, None for anything else.

    What was thought before it, markup around it, and "the answer is" are passed over; of a JSON object its only value
    counts that says yes or no.
    """
    if _UNFINISHED.search(text) and not _THOUGHT.match(text):
        return None  # it had not come to its answer yet
    said = _FENCE.sub(" ", _TAG.sub(" ", _THOUGHT.sub("", text))).strip(_MARKUP.replace("{", "").replace("[", ""))
    if said[:1] in ("{", "["):
        return _of_value(said)
    said = said.lstrip(_MARKUP)
    said = _LEAD.sub("", said).lstrip(_MARKUP)
    found = _WORD.match(said)
    return _DEGREES[found.group(1).lower()] if found else None


def _of_value(text: str) -> float | None:
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    said = {degree for degree in map(_of_leaf, _leaves(value)) if degree is not None}
    return said.pop() if len(said) == 1 else None


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for each in value for leaf in _leaves(each)] if isinstance(value, list) else [value]


def _of_leaf(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    return _DEGREES.get(value.strip(_MARKUP).lower()) if isinstance(value, str) else None
