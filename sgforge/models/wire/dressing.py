"""What the settings of a model add to every request: effort, thinking, fields of the body, the schema in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from sgforge.models.settings import ModelSettings
from sgforge.models.values import ChatRequest, Message, TextPart

__all__ = ["as_sent", "identity_with", "schema_words", "with_extra"]

_SAYS: Final = "Answer with one JSON value and nothing else; it must satisfy this JSON schema:"


def schema_words(schema: Mapping[str, Any]) -> str:
    """A schema in words, for models whose server does not hold them to it."""
    return f"{_SAYS} {orjson.dumps(schema).decode()}"


def as_sent(request: ChatRequest, settings: ModelSettings) -> ChatRequest:
    """The request with the model's own effort, and with its schema in the last message where settings say so."""
    if request.effort is None and settings.effort is not None:
        request = attrs.evolve(request, effort=settings.effort)
    if request.schema is None or settings.schema_in_prompt is not True:
        return request
    *before, last = request.messages
    words = schema_words(request.schema)
    if any(isinstance(part, TextPart) and _SAYS in part.text for part in last.parts):
        return request
    return attrs.evolve(request, messages=(*before, Message(last.role, (*last.parts, TextPart(words)))))


def with_extra(body: Mapping[str, Any], settings: ModelSettings) -> Mapping[str, Any]:
    """The body with the fields that the settings add to it."""
    return {**body, **settings.extra_body} if settings.extra_body else body


def identity_with(identity: str | None, settings: ModelSettings) -> str | None:
    """What names a model with what its settings add, as another effort gives other answers."""
    added = {
        name: value
        for name, value in (
            ("effort", settings.effort),
            ("thinking", settings.thinking),
            ("extra_body", dict(settings.extra_body) or None),
        )
        if value is not None
    }
    if not added:
        return identity
    return f"{identity or ''} {orjson.dumps(added, option=orjson.OPT_SORT_KEYS).decode()}"
