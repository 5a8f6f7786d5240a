"""Anthropic messages on the wire: the body of a request, the meaning of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from sgforge.models import ChatRequest, EncodeImage, Finish, Message, Reply, TextPart, Usage

__all__ = ["message_body", "read_message"]

_FINISH: Final[Mapping[str, Finish]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "refusal",
}


def message_body(model: str, request: ChatRequest, encode: EncodeImage) -> dict[str, Any]:
    """The request's body: system text apart, the schema in the form the endpoint takes."""
    system = [_text(message) for message in request.messages if message.role == "system"]
    turns = [_turn(message, encode) for message in request.messages if message.role != "system"]
    body: dict[str, Any] = {"model": model, "max_tokens": request.max_tokens, "messages": turns}
    if system:
        body["system"] = "\n\n".join(system)
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    output: dict[str, Any] = {}
    if request.effort is not None:
        output["effort"] = request.effort
    if request.schema is not None:
        output["format"] = {"type": "json_schema", "schema": _accepted(request.schema)}
    if output:
        body["output_config"] = output
    return body


def read_message(raw: bytes) -> Reply:
    """A message; ValueError for anything else."""
    content = orjson.loads(raw)
    try:
        text = "".join(block["text"] for block in content["content"] if block["type"] == "text")
        finish = _FINISH.get(content.get("stop_reason") or "", "stop")
        refusal = text if finish == "refusal" else ""
        return Reply(
            text=text,
            finish=finish,
            usage=_usage(content.get("usage")),
            model=content.get("model") or "",
            refusal=refusal,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no message ({error!r})") from error


def _accepted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as the endpoint accepts it: bounds it does not know become descriptions (the SDK knows which).

    Nothing is lost by that: the gateway checks the answer against the whole schema.
    """
    import anthropic

    return anthropic.transform_schema(dict(schema))


def _text(message: Message) -> str:
    texts = [part.text for part in message.parts if isinstance(part, TextPart)]
    if len(texts) != len(message.parts):
        raise ValueError("a system message may hold text only: move its images into a user message")
    return "\n\n".join(texts)


def _turn(message: Message, encode: EncodeImage) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            blocks.append({"type": "text", "text": part.text})
        else:
            media_type, data = encode(part)
            source = {"type": "base64", "media_type": media_type, "data": data}
            blocks.append({"type": "image", "source": source})
    return {"role": message.role, "content": blocks}


def _usage(content: Mapping[str, Any] | None) -> Usage | None:
    """Token counts; here the input does not include what was read from or written to the cache."""
    if not content:
        return None
    details = content.get("output_tokens_details") or {}
    return Usage(
        input=content["input_tokens"],
        cache_read=content.get("cache_read_input_tokens") or 0,
        cache_write=content.get("cache_creation_input_tokens") or 0,
        output=content["output_tokens"],
        reasoning=details.get("thinking_tokens") or details.get("reasoning_tokens") or 0,
    )
