"""Requests and answers of the fake provider, and their form on each wire."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import attrs
import orjson

__all__ = [
    "Answered",
    "FakeAnswer",
    "FakeRequest",
    "Script",
    "Wire",
    "chat_body",
    "message_body",
    "read_chat",
    "read_message",
]

Wire: TypeAlias = Literal["chat", "messages"]


@attrs.frozen
class FakeRequest:
    """One question as the server understood it. `question` is the digest of its body; equal bodies have equal ones."""

    wire: Wire
    model: str
    text: str
    images: tuple[bytes, ...]
    schema: Mapping[str, Any] | None
    max_tokens: int | None
    body: Mapping[str, Any]
    question: str
    number: int = 0
    batch: bool = False


@attrs.frozen
class FakeAnswer:
    """What the script says. `fault`: one of `FAULTS` in place of a good answer; `status`: an HTTP error with `text` as
    its message. `tokens`: probabilities of the first token by text. `usage`: (input, cached, output) in place of the
    counted ones. `delay_s`: in place of the server's latency."""

    text: str = "ok"
    status: int = 200
    finish: Literal["stop", "length", "refusal"] = "stop"
    fault: str | None = None
    retry_after_s: float | None = None
    tokens: Mapping[str, float] | None = None
    usage: tuple[int, int, int] | None = None
    delay_s: float | None = None


@attrs.frozen
class Answered:
    """A request's answer without its way over the wire: status and JSON body."""

    status: int
    body: Mapping[str, Any] | None


Script: TypeAlias = Callable[[FakeRequest], FakeAnswer]


def read_chat(body: Mapping[str, Any]) -> FakeRequest:
    """A chat completions body; a malformed one is a ValueError or KeyError."""
    texts: list[str] = []
    images: list[bytes] = []
    for message in body["messages"]:
        content = message["content"]
        for part in _parts(content):
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                images.append(_data_url(part["image_url"]["url"]))
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    return FakeRequest(
        wire="chat",
        model=body["model"],
        text="\n".join(texts),
        images=tuple(images),
        schema=schema,
        max_tokens=limit,
        body=body,
        question=digest(body),
    )


def read_message(body: Mapping[str, Any]) -> FakeRequest:
    """An Anthropic messages body; a malformed one is a ValueError or KeyError."""
    texts = [body["system"]] if isinstance(body.get("system"), str) else []
    images: list[bytes] = []
    for message in body["messages"]:
        content = message["content"]
        for part in _parts(content):
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                images.append(base64.b64decode(part["source"]["data"], validate=True))
    schema = (body.get("output_config") or {}).get("format", {}).get("schema")
    return FakeRequest(
        wire="messages",
        model=body["model"],
        text="\n".join(texts),
        images=tuple(images),
        schema=schema,
        max_tokens=body["max_tokens"],
        body=body,
        question=digest(body),
    )


def chat_body(request: FakeRequest, answer: FakeAnswer, counts: tuple[int, int, int] | None) -> dict[str, Any]:
    """A chat completion; `counts`: (input, cached, output) tokens."""
    refused = answer.finish == "refusal"
    message = {"role": "assistant", "content": None if refused else answer.text}
    message["refusal"] = answer.text if refused else None
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    if answer.finish == "length":
        choice["finish_reason"] = "length"
    if answer.tokens is not None and request.body.get("logprobs"):
        choice["logprobs"] = {"content": [_logprobs(answer.tokens)], "refusal": None}
    body: dict[str, Any] = {"id": f"chatcmpl-{request.number}", "object": "chat.completion", "created": 1}
    body |= {"model": request.model, "choices": [choice]}
    if counts is not None:
        given, cached, written = counts
        body["usage"] = {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}
        body["usage"]["prompt_tokens_details"] = {"cached_tokens": cached}
    return body


def message_body(request: FakeRequest, answer: FakeAnswer, counts: tuple[int, int, int] | None) -> dict[str, Any]:
    """An Anthropic message; input there does not include what was read from the cache."""
    given, cached, written = counts or (0, 0, 0)
    reason = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}[answer.finish]
    body: dict[str, Any] = {"id": f"msg_{request.number}", "type": "message", "role": "assistant"}
    body["model"] = request.model
    body |= {"content": [{"type": "text", "text": answer.text}], "stop_reason": reason, "stop_sequence": None}
    body["usage"] = {"input_tokens": given - cached, "output_tokens": written, "cache_read_input_tokens": cached}
    body["usage"]["cache_creation_input_tokens"] = 0
    return body


def digest(body: Mapping[str, Any]) -> str:
    """What names a question: the sha256 of its body."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _data_url(url: str) -> bytes:
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise ValueError("an image must be a base64 data url")
    return base64.b64decode(data, validate=True)


def _logprobs(tokens: Mapping[str, float]) -> dict[str, Any]:
    top: list[dict[str, Any]] = [
        {"token": token, "logprob": math.log(p), "bytes": None} for token, p in tokens.items() if p > 0
    ]
    top.sort(key=lambda entry: -float(entry["logprob"]))
    return {**top[0], "top_logprobs": top}
