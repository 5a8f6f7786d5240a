"""API keys in pieces: parts of a content, tokens, items of an array, which hold a key only when put together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from sgforge.models.wire.bodies import read_json

__all__ = ["MASK", "masked_pieces"]

MASK: Final = "[key]"
_NAMES: Final = frozenset({"type", "id", "role", "object", "index", "status", "finish_reason", "logprob"})
"""What an item is, beside what it says."""
_OF_TOKENS: Final = frozenset({"bytes", "top_logprobs"})
"""What belongs to a token, and is masked with it; there are hundreds in an answer with probabilities."""


@attrs.frozen(eq=False)
class _Leaf:
    """A text in a body: `holder[place]`."""

    holder: Any
    place: Any
    text: str


def masked_pieces(raw: bytes, keys: Mapping[str, re.Pattern[str]]) -> bytes:
    """A JSON body with every key masked that several of its texts make up together; any other body as it is.

    Texts belong together that stand at the same place of each item of an array (parts of a content, tokens), or in one
    array in any place. A token's bytes and its alternatives are masked with it.
    """
    if not keys or raw.count(b'"') < 8:
        return raw
    try:
        content = read_json(raw)
    except ValueError:
        return raw
    by_place: dict[str, list[_Leaf]] = {}
    by_array: dict[int, list[_Leaf]] = {}
    _gather(content, "", 0, by_place, by_array)
    # One after the other: what the first has masked the second does not find.
    found = [_mask(group, keys) for groups in (by_place, by_array) for group in groups.values() if len(group) > 1]
    return json.dumps(content).encode() if any(found) else raw


def _gather(
    value: Any, path: str, array: int, by_place: dict[str, list[_Leaf]], by_array: dict[int, list[_Leaf]]
) -> None:
    """The texts below a value, in order, by their path without the numbers of items, and by the array they are in."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, list):
        array, items = id(value), enumerate(value)
    else:
        items = value.items() if isinstance(value, dict) else ()
    for place, item in items:
        if isinstance(item, str):
            leaf = _Leaf(value, place, item)
            name = "*" if isinstance(place, int) else place
            by_place.setdefault(f"{path}/{name}", []).append(leaf)
            if place not in _NAMES:
                by_array.setdefault(array, []).append(leaf)
        elif isinstance(item, (dict, list)) and place not in _OF_TOKENS:
            _gather(item, f"{path}/{'*' if isinstance(place, int) else place}", array, by_place, by_array)


def _mask(leaves: Sequence[_Leaf], keys: Mapping[str, re.Pattern[str]]) -> bool:
    """Mask what keys these texts make up together; whether there was one."""
    texts = [leaf.holder[leaf.place] for leaf in leaves]
    whole = "".join(texts)
    is_escaped = "%" in whole or "\\" in whole
    spans = [
        match.span() for key, pattern in keys.items() if key in whole or is_escaped for match in pattern.finditer(whole)
    ]
    # From the last to the first: what is masked moves nothing that stands before it.
    for begin, end in sorted(spans, reverse=True):
        start = 0
        for leaf, text in zip(leaves, texts, strict=True):
            first, last = max(begin - start, 0), min(end - start, len(text))
            if first < last:
                now = leaf.holder[leaf.place]
                _put(leaf, now[:first] + (MASK if begin >= start else "") + now[last:])
            start += len(text)
    return bool(spans)


def _put(leaf: _Leaf, text: str) -> None:
    """Set a text, and with that of a token its bytes and its alternatives."""
    leaf.holder[leaf.place] = text
    if isinstance(leaf.holder, dict):
        if isinstance(leaf.holder.get("bytes"), list):
            leaf.holder["bytes"] = list(text.encode("utf-8", "surrogatepass"))
        for other in leaf.holder.get("top_logprobs") or ():
            if isinstance(other, dict) and other.get(leaf.place) == leaf.text:
                _put(_Leaf(other, leaf.place, leaf.text), text)
