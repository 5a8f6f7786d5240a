"""Chat completions on the wire: the body of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sgforge.models import ChatRequest, EncodeImage, Message, TextPart

__all__ = ["chat_body"]

_TOP_LOGPROBS: Final = 20


def chat_body(
    model: str, request: ChatRequest, encode: EncodeImage, limit_field: str, probabilities: bool
) -> dict[str, Any]:
    """The request's body; `limit_field` is the server's name for max_tokens, `probabilities` whether it gives them."""
    body: dict[str, Any] = {"model": model, "messages": [_message(message, encode) for message in request.messages]}
    body[limit_field] = request.max_tokens
    sampling = {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed}
    body |= {name: value for name, value in sampling.items() if value is not None}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.effort is not None:
        body["reasoning_effort"] = request.effort
    if request.choices and probabilities:
        body |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
    if request.schema is not None:
        schema = {"name": "answer", "strict": _is_closed(request.schema), "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _message(message: Message, encode: EncodeImage) -> dict[str, Any]:
    if all(isinstance(part, TextPart) for part in message.parts) and len(message.parts) == 1:
        return {"role": message.role, "content": message.parts[0].text}  # type: ignore[union-attr]
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            parts.append({"type": "text", "text": part.text})
            continue
        media_type, data = encode(part)
        url: dict[str, Any] = {"url": f"data:{media_type};base64,{data}"}
        if part.detail is not None:
            url["detail"] = part.detail
        parts.append({"type": "image_url", "image_url": url})
    return {"role": message.role, "content": parts}


def _is_closed(schema: Any) -> bool:
    """Whether the vendor's strict mode takes the schema: every object names all it may hold, and requires it."""
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
        return all(map(_is_closed, properties.values()))
    return all(_is_closed(value) for name, value in schema.items() if name not in ("enum", "const", "default"))
