"""JSON in what a model wrote: bare, in a fence, amid prose, after its thinking, as a text of its own, or cut off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from sgforge.models.wire.bodies import read_json

__all__ = ["cut_value", "values_in", "without_thinking"]

_FENCE: Final = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n?(.*?)```", re.DOTALL)
_THOUGHT: Final = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_CLOSED: Final = re.compile(r"</(think|thinking|reasoning)>", re.IGNORECASE)
_DECODER: Final = json.JSONDecoder(strict=False)
_NESTED: Final = 3
_MOST_STARTS: Final = 200
"""Brackets in a text at which a value is looked for; a text with more of them is no answer."""


def without_thinking(text: str) -> str:
    """The text without what a model thought aloud; of an end without a beginning everything before it is thought."""
    text = _THOUGHT.sub("", text)
    closed = list(_CLOSED.finditer(text))
    return (text[closed[-1].end() :] if closed else text).lstrip("\ufeff \t\r\n")


def values_in(text: str) -> list[Any]:
    """The JSON values that stand in a text, outermost ones only, most likely first; none is made up.

    A text that is a value has no other; in one that is not, fenced blocks come before what stands in prose. Commas
    before a closing bracket are overlooked. A value that is a text with JSON in it is that JSON.
    """
    said = without_thinking(text)
    whole = _loaded(said)
    if whole is not None:
        return [whole[0]]
    fenced = [found[0] for block in _FENCE.findall(said) if (found := _loaded(block.strip())) is not None]
    return fenced or list(_in_prose(_without_commas(said)))


def cut_value(text: str) -> Any | None:
    """What is whole of a JSON value that was cut off: it ends after the last element of a list that is complete.

    None where no list had got an element yet.
    """
    said = without_thinking(text)
    start = min((at for at in (said.find("{"), said.find("[")) if at >= 0), default=-1)
    if start < 0:
        return None
    for end, closing in reversed(_ends_of_elements(said, start)):
        found = _loaded(said[start:end] + closing)
        if found is not None:
            return found[0]
    return None


def _loaded(text: str, depth: int = 0) -> tuple[Any] | None:
    """The value of a text that is one, in a tuple, as the value may be null; None if it is none."""
    text = text.strip().lstrip("\ufeff")
    for candidate in (text, _without_commas(text)):
        try:
            value = read_json(candidate)
        except ValueError:
            continue
        if isinstance(value, str) and depth < _NESTED:
            return _loaded(value, depth + 1)
        return (value,)
    return None


def _in_prose(text: str) -> Iterator[Any]:
    at = 0
    for _ in range(_MOST_STARTS):
        starts = [found for found in (text.find("{", at), text.find("[", at)) if found >= 0]
        if not starts:
            return
        at = min(starts)
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            # What never closes was cut off: its parts are no answers of their own.
            if not _closes(text, at):
                return
            at += 1
            continue
        found = _loaded(json.dumps(value))
        if found is not None:
            yield found[0]


def _closes(text: str, start: int) -> bool:
    depth = 0
    for _, letter in _outside_strings(text, start):
        depth += (letter in "{[") - (letter in "}]")
        if depth == 0:
            return True
    return False


def _without_commas(text: str) -> str:
    """The text without commas that stand before a closing bracket, outside of strings."""
    if not re.search(r",\s*[\]}]", text):
        return text
    kept: list[str] = []
    last = 0
    for at, letter in _outside_strings(text):
        if letter in "]}":
            before = text[last:at].rstrip()
            if before.endswith(","):
                kept.append(before[:-1])
                last = at
    return "".join(kept) + text[last:]


def _ends_of_elements(text: str, start: int) -> list[tuple[int, str]]:
    """(where an element of a list ends, the brackets that close everything around it), in order."""
    ends: list[tuple[int, str]] = []
    open_brackets: list[str] = []
    for at, letter in _outside_strings(text, start):
        if letter in "{[":
            open_brackets.append("}" if letter == "{" else "]")
            continue
        if letter == "," and open_brackets and open_brackets[-1] == "]":
            ends.append((at, "".join(reversed(open_brackets))))
        elif letter in "}]" and open_brackets:
            open_brackets.pop()
            if not open_brackets:
                return ends
            if open_brackets[-1] == "]":
                ends.append((at + 1, "".join(reversed(open_brackets))))
    return ends


def _outside_strings(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """The brackets and commas of a JSON text with their places, those within strings left out."""
    for found in _TOKEN.finditer(text, start):
        if found.group() in _MARKS:
            yield found.start(), found.group()


_MARKS: Final = frozenset("{}[],")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\],]', re.DOTALL)
