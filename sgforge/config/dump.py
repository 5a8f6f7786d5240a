"""Options as they are saved beside a dataset: defaults included, secrets replaced by `***`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from sgforge.config.secret import REDACTED, is_secret
from sgforge.config.strict import unstructure

__all__ = ["dump_options"]

_CREDENTIALS_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+@")


def dump_options(options: Any) -> dict[str, Any]:
    """Typed options (an attrs value, or None) as plain values, defaults included, secrets replaced."""
    if options is None:
        return {}
    marks = {field.alias: field.metadata.get("secret") for field in attrs.fields(type(options))}
    return {name: _redact(name, value, marks.get(name)) for name, value in unstructure(options).items()}


def _redact(name: str, value: Any, marked: bool | None = None) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _redact(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact(name, item, marked) for item in value]
    if isinstance(value, str):
        if marked or (marked is None and is_secret(name)):
            return REDACTED
        return _CREDENTIALS_IN_URL.sub(f"{REDACTED}@", value)
    return value
