"""Keys that stand twice in one JSON object: of two values a reader keeps one, and nobody knows which was meant.

Keys are counted in the text, which is fast, and in what was read of it; only where the two differ is the text read
again, pair by pair. They agree by chance where a line has as many doubled keys as others with a space before the colon,
which no writer makes.
"""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["doubled_key", "doubled_key_of_graph"]

_NESTED: Final = (dict, list)
_KEY: Final = b'":'


class _TwiceError(Exception):
    """A key stands twice; it is the message."""


def doubled_key(text: bytes, value: Any) -> str | None:
    """A key that stands twice in an object of `text`, whose value is `value`; None if there is none."""
    known = sum(map(len, value)) if _is_table(text, value) else _keys_of(value)
    return None if text.count(_KEY) == known else _search(text)


def _is_table(text: bytes, value: Any) -> bool:
    """Whether a value is a list of objects that hold no others: its text opens no more than these."""
    return type(value) is list and text.count(b"{") == len(value) and set(map(type, value)) <= {dict}


def doubled_key_of_graph(line: bytes, data: Any) -> str | None:
    """As `doubled_key`, at a fraction of its price for the lines of graph JSONL, whose rows hold few objects."""
    if b'"x":' in line:
        return doubled_key(line, data)
    try:
        regions, relations = data["regions"], data.get("relations") or ()
        masks = sum(type(row.get("mask")) is dict and len(row["mask"]) for row in regions)
        known = (
            len(data) + sum(map(len, regions)) + sum(map(len, relations)) + masks + len(data.get("attributes") or ())
        )
    except (AttributeError, LookupError, TypeError):
        return doubled_key(line, data)
    return None if line.count(_KEY) == known else doubled_key(line, data)


def _keys_of(value: Any) -> int:
    """The keys of all objects in a value; not those in a list that begins with something else."""
    if type(value) is dict:
        found = len(value)
        for inner in value.values():  # a loop: a generator for each object takes twice as long
            if type(inner) in _NESTED:
                found += _keys_of(inner)
        return found
    if type(value) is list and value and type(value[0]) in _NESTED:
        return sum(map(_keys_of, value))
    return 0


def _search(text: bytes) -> str | None:
    try:
        json.loads(text, object_pairs_hook=_single)
    except _TwiceError as error:
        return str(error)
    except (ValueError, RecursionError):  # the parser before this one tells what is no JSON
        return None
    return None


def _single(pairs: list[tuple[str, Any]]) -> None:
    if len(dict.fromkeys(key for key, _ in pairs)) != len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
