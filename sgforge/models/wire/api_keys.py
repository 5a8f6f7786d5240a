"""API keys: from the environment or a file, never from a config, never into a message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sgforge.models.errors import RunStoppedError
from sgforge.models.settings import ModelSettings

__all__ = ["find_key", "redact"]

_SEEN: set[str] = set()
_SHORTEST = 6


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
    """The text with every key that was looked up here masked: servers echo keys in their messages."""
    for key in _SEEN:
        text = text.replace(key, "[key]")
    return text


def _from_file(path: Path) -> str:
    try:
        key = path.expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RunStoppedError("no_key", f"api_key_file {path} cannot be read: {type(error).__name__}") from None
    if not key or "\n" in key:
        raise RunStoppedError("no_key", f"api_key_file {path} must hold one line, the key")
    return key


def _remember(key: str) -> str:
    if len(key) >= _SHORTEST:
        _SEEN.add(key)
    return key
