"""Where the graph stands in a completion, and what of its JSON can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

__all__ = ["is_tagged", "json_text", "parsed"]

_LONGEST: Final = 1_000_000
"""Characters of a text that is read; a longer one is one fault."""
_THOUGHT: Final = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE: Final = re.compile(r"```[a-z]*")
_ITEMS: Final = re.compile(r'"(objects|relationships)"\s*:\s*\[')
_TAGGED: Final = re.compile(r"\s*<think>.*?</think>\s*<answer>.*?</answer>\s*", re.DOTALL)
_TRAILING: Final = re.compile(r",(?=\s*[}\]])")
_DECODER: Final = json.JSONDecoder()


def is_tagged(text: str) -> bool:
    """Whether a text is thought and answer in their tags, and nothing beside."""
    return _TAGGED.fullmatch(text) is not None


def json_text(text: str) -> str:
    """Where the graph stands in a completion: behind what was thought, within answer tags and fences if there are."""
    begin = text.find("<answer>")
    end = text.find("<", begin + 8)
    # Mostly nothing else may be a tag, and single characters are found much faster than tags.
    is_alone = text.startswith("</answer>", end) and text.find("<", end + 9) < 0 and text.find("`", begin, end) < 0
    if begin >= 0 and is_alone and text.rfind("<think>", 0, begin) <= text.rfind("</think>", 0, begin):
        return text[begin + 8 : end].strip()
    before, opened, behind = text.partition("<answer>")
    if not opened or "<think>" in behind or before.rfind("<think>") > before.rfind("</think>"):
        # A thought may hold such a tag, or reach into what stands behind it.
        before, opened, behind = _THOUGHT.sub(" ", text).partition("<answer>")
    text = behind.partition("</answer>")[0] if opened else before
    if "```" in text:
        text = _FENCE.sub(" ", text)
    return text.strip()


def parsed(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The object that a completion holds, or what can be saved of it, and what was wrong."""
    if len(text) > _LONGEST:
        return None, ["too-long"]
    body = json_text(text)
    whole = _loaded(body)
    if isinstance(whole, dict):
        return whole, []
    return _salvaged(body), ["unreadable"]


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    begin = text.find("{")
    try:
        return _DECODER.raw_decode(text, begin)[0] if begin >= 0 else None
    except (ValueError, RecursionError):
        return None


def _salvaged(text: str) -> dict[str, list[Any]] | None:
    """The items of both lists that can be read one by one; None where there are none."""
    text = _TRAILING.sub("", text)
    found: dict[str, list[Any]] = {}
    for match in _ITEMS.finditer(text):
        if match[1] not in found:
            found[match[1]] = list(_items(text, match.end()))
    return found if any(found.values()) else None


def _items(text: str, place: int) -> Iterator[Any]:
    """The items of a list that begins here, until it ends or something else than an item stands there."""
    while True:
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        if place >= len(text) or text[place] != "{":
            return
        try:
            item, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            # What comes behind the broken one may be whole.
            end = text.find("}", place)
            if end < 0:
                return
            item, place = None, end + 1
        yield item
