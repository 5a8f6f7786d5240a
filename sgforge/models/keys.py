"""The name of a request: equal requests share one answer, whenever and however it was bought."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

from sgforge.models.values import ChatRequest, Message, TextPart

__all__ = ["KEY_VERSION", "call_id", "request_key"]

KEY_VERSION: Final = 1
"""Raised when the meaning of a key's fields changes; old answers are then never found."""


def request_key(model: str, identity: str | None, request: ChatRequest) -> bytes:
    """sha256 over everything that can change an answer, 32 bytes.

    In it: "provider/model", `identity` (a base_url that is not the vendor's, a digest of weights), messages with
    images by their hash, schema (as ordered: models write in schema order), sampling, choices, ordinal. Not in it:
    keys, timeouts, retries, limits, prices, batch or online.
    """
    content = {
        "version": KEY_VERSION,
        "model": model,
        "identity": identity,
        "messages": [_message(message) for message in request.messages],
        "schema": request.schema,
        "max_tokens": request.max_tokens,
        "temperature": None if request.temperature is None else float(request.temperature),
        "top_p": None if request.top_p is None else float(request.top_p),
        "seed": request.seed,
        "stop": request.stop,
        "effort": request.effort,
        "choices": request.choices,
        "ordinal": request.ordinal,
    }
    return hashlib.sha256(orjson.dumps(content)).digest()


def call_id(key: bytes) -> str:
    """The id under which provenance names a stored answer: the first half of its key, in hex."""
    return key[:16].hex()


def _message(message: Message) -> list[Any]:
    parts = [
        ["text", part.text] if isinstance(part, TextPart) else ["image", part.sha256, part.media_type, part.detail]
        for part in message.parts
    ]
    return [message.role, parts]
