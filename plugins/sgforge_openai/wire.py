"""Chat completions on the wire: the body of a request, the meaning of an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from sgforge.models import ChatRequest, EncodeImage, Finish, Message, Reply, TextPart, Usage

__all__ = ["chat_body", "read_chat"]

_TOP_LOGPROBS: Final = 20
_FINISH: Final[Mapping[str, Finish]] = {"length": "length", "content_filter": "refusal"}


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


def read_chat(raw: bytes) -> Reply:
    """A chat completion; ValueError for anything else."""
    content = orjson.loads(raw)
    try:
        choice = content["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal") or ""
        finish = "refusal" if refusal else _FINISH.get(choice.get("finish_reason") or "", "stop")
        usage = _usage(content.get("usage"))
        return Reply(
            text=text,
            finish=finish,
            usage=usage,
            model=content.get("model") or "",
            refusal=refusal,
            tokens=_first_token(choice),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"no chat completion ({error!r})") from error


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


def _usage(content: Mapping[str, Any] | None) -> Usage | None:
    """Token counts; the prompt's include what was read from and written to the cache, the detail objects may miss."""
    if not content:
        return None
    given = content.get("prompt_tokens_details") or {}
    written = content.get("completion_tokens_details") or {}
    read, stored = given.get("cached_tokens") or 0, given.get("cache_write_tokens") or 0
    return Usage(
        input=max(0, content["prompt_tokens"] - read - stored),
        cache_read=read,
        cache_write=stored,
        output=content.get("completion_tokens") or 0,
        reasoning=written.get("reasoning_tokens") or 0,
    )


def _first_token(choice: Mapping[str, Any]) -> Mapping[str, float] | None:
    tokens = (choice.get("logprobs") or {}).get("content")
    if not tokens:
        return None
    top = tokens[0].get("top_logprobs") or [tokens[0]]
    return {entry["token"]: math.exp(entry["logprob"]) for entry in top}


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
