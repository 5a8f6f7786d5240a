"""The name of a request: equal requests share one answer, whenever and however it was bought."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

from sgforge.models.values import ChatRequest, Message, Part, TextPart
from sgforge.models.wire.pictures import Fit

__all__ = ["KEY_VERSION", "call_id", "request_key"]

KEY_VERSION: Final = 1
"""Raised when the meaning of a key's fields changes; old answers are then never found."""


def request_key(model: str, identity: str | None, request: ChatRequest, fit: Fit = Fit()) -> bytes:
    """sha256 over everything that can change an answer, 32 bytes.

    In it: "provider/model", `identity` (a base_url that is not the vendor's, a digest of weights), messages with
    images by their hash (and the limits of `fit` where it makes them smaller), schema (as ordered: models write in
    schema order), sampling, choices, ordinal. Not in it: keys, timeouts, retries, rates, prices, batch or online.
    """
    content = {
        "version": KEY_VERSION,
        "model": model,
        "identity": identity,
        "messages": [_message(message, fit) for message in request.messages],
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


def _message(message: Message, fit: Fit) -> list[Any]:
    return [message.role, [_part(part, fit) for part in message.parts]]


def _part(part: Part, fit: Fit) -> list[Any]:
    if isinstance(part, TextPart):
        return ["text", part.text]
    limits = [fit.side, fit.byte_count] if fit.is_exceeded_by(part) else []
    return ["image", part.sha256, part.media_type, part.detail, *limits]
