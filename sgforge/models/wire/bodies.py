"""What vendors' bodies hold, read as forgivingly as it can be without guessing: JSON, token counts, texts in parts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

__all__ = ["MOST_TOKENS", "joined_text", "read_json", "token_count"]

MOST_TOKENS: Final = 20_000_000
"""No model reads or writes so much in one call; a larger count is a fault of the server's."""

_THINKING: Final = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content", "reasoning_text"})
_WHOLE: Final = re.compile(r"\d{1,12}(\.0*)?")
_SURROGATES: Final = dict.fromkeys(range(55296, 57344), "�")


def read_json(raw: bytes | str) -> Any:
    """The JSON value of a body; ValueError for what is none.

    What orjson refuses and Python's own reader takes is read too: NaN literals, a byte order mark, bytes that are no
    UTF-8 and halves of surrogate pairs, which become U+FFFD.
    """
    try:
        return orjson.loads(raw)
    except ValueError:
        pass
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    try:
        value = json.loads(text.lstrip("\ufeff \t\r\n"), strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return _without_surrogates(value)


def token_count(value: Any) -> int | None:
    """A count of tokens where it can be read: a whole number of at least 0 that some call could have, also as a text
    or as 12.0; None for everything else."""
    if type(value) is int:
        return value if 0 <= value <= MOST_TOKENS else None
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = float(value)
    if not isinstance(value, float) or not math.isfinite(value) or not value.is_integer():
        return None
    return int(value) if 0 <= value <= MOST_TOKENS else None


def joined_text(content: Any) -> str:
    """The text of a message's content, however it is given: a text, parts of which the thinking ones are left out,
    a JSON value that a server has parsed already."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        parts = [part for part in content if not _is_thinking(part)]
        if all(isinstance(part, str) or _is_part(part) for part in parts):
            return "".join(map(joined_text, parts))
    if isinstance(content, Mapping) and _is_part(content):
        inner = content["text"] if "text" in content else content["content"]
        # A part may wrap its text once more, as {"text": {"value": ...}}.
        return joined_text(inner.get("value", inner) if isinstance(inner, Mapping) else inner)
    return orjson.dumps(content, default=str).decode()


def _is_thinking(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _THINKING


def _is_part(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("type"), str) and ("text" in part or "content" in part)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_SURROGATES)
    if isinstance(value, list):
        return [_without_surrogates(each) for each in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(each) for name, each in value.items()}
    return value
