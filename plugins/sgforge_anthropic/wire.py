"""Anthropic messages on the wire: the body of a request, the meaning of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sgforge.models import (
    ChatRequest,
    EncodeImage,
    Finish,
    Message,
    Reply,
    TextPart,
    Usage,
    joined_text,
    read_json,
    token_count,
)

__all__ = ["message_body", "message_usage", "read_message"]

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
    """A message; ValueError for what is none. One without content is an answer with a fault: it is billed."""
    content = read_json(raw)
    if not isinstance(content, Mapping) or content.get("error") or content.get("type") == "error":
        raise ValueError("no message")
    if "content" not in content:
        raise ValueError("no message (it has no content)")
    reason, model = content.get("stop_reason"), content.get("model")
    finish = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    text, remark = _said(content["content"])
    return Reply(
        text=text,
        finish=finish,
        usage=message_usage(content.get("usage")),
        model=model if isinstance(model, str) else "",
        refusal=_refusal(content, text) if finish == "refusal" else "",
        fault="no answer in it: its content is null" if content["content"] is None and finish == "stop" else "",
        remark=remark,
    )


def message_usage(content: Any) -> Usage | None:
    """Token counts, None where they cannot be believed; here the input does not include what was read from or written
    to the cache."""
    if not isinstance(content, Mapping):
        return None
    given, written = token_count(content.get("input_tokens")), token_count(content.get("output_tokens"))
    # Missing or null, nothing was cached; a count that is none could be any number, and writing costs more than input.
    cached = [
        0 if content.get(name) is None else token_count(content[name])
        for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    read, stored = cached
    if given is None or written is None or read is None or stored is None:
        return None
    details = content.get("output_tokens_details")
    details = details if isinstance(details, Mapping) else {}
    thought = token_count(details.get("thinking_tokens")) or token_count(details.get("reasoning_tokens")) or 0
    return Usage(input=given, cache_read=read, cache_write=stored, output=written, reasoning=min(thought, written))


def _said(content: Any) -> tuple[str, str]:
    """(text of a message's blocks, where it stood if not in a text block)."""
    text = joined_text([block for block in content if _is_text(block)] if isinstance(content, list) else content)
    if text.strip() or not isinstance(content, list):
        return text, "" if text.strip() else "content is empty"
    tools = [block for block in content if isinstance(block, Mapping) and block.get("type") == "tool_use"]
    if len(tools) == 1:
        return joined_text(tools[0].get("input")), "no text block; the answer stood in a tool call"
    kinds = sorted({str(block.get("type")) for block in content if isinstance(block, Mapping)})
    return text, f"no text among its blocks ({', '.join(kinds)})" if kinds else "content is empty"


def _is_text(block: Any) -> bool:
    return isinstance(block, str) or (isinstance(block, Mapping) and block.get("type") == "text")


def _refusal(content: Mapping[str, Any], text: str) -> str:
    """What the server says of a refusal: its stop_details, and the text if there is any."""
    details = content.get("stop_details")
    details = details if isinstance(details, Mapping) else {}
    told = [str(details[name]) for name in ("category", "explanation", "reason", "message") if details.get(name)]
    return ": ".join(told + ([text] if text.strip() else [])) or "stop_reason refusal"


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
