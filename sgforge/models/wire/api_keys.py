"""API keys: from the environment or a file, never from a config, never into a message, a file or a journal."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sgforge.models.errors import RunStoppedError
from sgforge.models.settings import ModelSettings
from sgforge.models.wire.key_pieces import MASK, masked_pieces

__all__ = ["find_key", "holds_key", "redact", "redact_body"]

_SEEN: Final[dict[str, re.Pattern[str]]] = {}
"""Every key that was looked up, with what it looks like in a text."""
_SHORTEST: Final = 6
_ESCAPED: Final = re.compile(rb"\\u00[2-7]|\\/")


def find_key(settings: ModelSettings, default_env: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The key of a model: its file, else its environment variable (`default_env` unless the settings name one).

    A key file that is named and cannot be read, or is empty, is a `RunStoppedError` (the path is told, the content
    never); a missing variable gives None.
    """
    if settings.api_key_file is not None:
        return _remember(_from_file(settings.api_key_file))
    value = (os.environ if environment is None else environment).get(settings.api_key_env or default_env, "").strip()
    return _remember(value) if value else None


def redact(text: str) -> str:
    """The text with every key that was looked up here masked: servers echo keys in their messages.

    Mask before anything is cut off: the first half of a key is as much of it as one should not see.
    """
    for key, pattern in _SEEN.items():
        # Looked for as it is first, which costs next to nothing where it is not.
        if key in text or "%" in text or "\\" in text:
            text = pattern.sub(MASK, text)
    return text


def holds_key(text: str) -> bool:
    """Whether a key that was looked up here stands in the text as it is; a quick look."""
    return any(key in text for key in _SEEN)


def redact_body(raw: bytes) -> bytes:
    """A body with every key that was looked up here masked, also where JSON wrote its letters as escapes, and where it
    stands in pieces that a reader puts together."""
    for key in _SEEN:
        if (plain := key.encode()) in raw:
            raw = raw.replace(plain, MASK.encode())
    if _SEEN and _ESCAPED.search(raw):
        raw = _redact_escapes(raw)
    return masked_pieces(raw, _SEEN)


def _redact_escapes(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    for pattern in _SEEN.values():
        text = pattern.sub(MASK, text)
    return text.encode("utf-8", "surrogateescape")


def _from_file(path: Path) -> str:
    try:
        key = path.expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RunStoppedError("no_key", f"api_key_file {path} cannot be read: {type(error).__name__}") from None
    if not key or "\n" in key:
        raise RunStoppedError("no_key", f"api_key_file {path} must hold one line, the key")
    return key


def _remember(key: str) -> str:
    if len(key) >= _SHORTEST and key not in _SEEN:
        _SEEN[key] = _looks_of(key)
    return key


def _looks_of(key: str) -> re.Pattern[str]:
    """Each letter of a key as itself, as JSON escapes it or as an address does."""
    letters = []
    for letter in key:
        forms = {letter, json.dumps(letter)[1:-1], f"\\{letter}" if letter == "/" else letter, quote(letter, safe="")}
        escape = f"(?i:\\\\u{ord(letter):04x})" if ord(letter) < 0x10000 else ""
        percent = "".join(f"(?i:%{byte:02x})" for byte in letter.encode())
        letters.append("(?:" + "|".join([*map(re.escape, sorted(forms)), escape or percent, percent]) + ")")
    return re.compile("".join(letters))
