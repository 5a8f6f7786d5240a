"""Chat completions on the wire: the meaning of an answer, wherever a server has put its text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from sgforge.models import Finish, Reply, Usage, joined_text, read_json, token_count

__all__ = ["chat_usage", "plain_completion", "read_chat"]

_FINISH: Final[Mapping[str, Finish]] = {"length": "length", "max_tokens": "length", "content_filter": "refusal"}
_BLANK: Final = " \t\r\n\u2581\u0120\u010a"
_MOST_LOGPROB: Final = 1e-3
"""A logarithm of a probability, but for rounding."""


def read_chat(raw: bytes) -> Reply:
    """A chat completion; ValueError for what is none. One without choices is an answer with a fault: it is billed."""
    content = read_json(raw)
    if not isinstance(content, Mapping):
        raise ValueError("no chat completion (not an object)")
    choice = _choice(content)
    if choice is None:
        if content.get("error") or not ("choices" in content or content.get("usage")):
            raise ValueError("no chat completion (it has no choices)")
        empty = Reply("", "stop", chat_usage(content.get("usage")), fault="no answer in it: its choices are empty")
        return empty
    message = _first(choice, "message", "delta")
    message = message if isinstance(message, Mapping) else {"content": message or choice.get("text")}
    reason = choice.get("finish_reason")
    finish = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    text, remark = _text(message, finish)
    if choice.get("error") and not text.strip():
        raise ValueError("no chat completion (an error in its choice)")
    refusal = _refusal(message, finish)
    model = content.get("model")
    return Reply(
        text=text,
        finish="refusal" if refusal else finish,
        usage=chat_usage(content.get("usage")),
        model=model if isinstance(model, str) else "",
        refusal=refusal,
        tokens=_first_said(choice),
        remark=remark,
    )


def chat_usage(content: Any) -> Usage | None:
    """Token counts; None where they cannot be believed.

    The prompt's include what was read from and written to the cache; the detail objects may miss. A total beyond the
    two holds what was thought, which some servers leave out of what was written, and bill.
    """
    if not isinstance(content, Mapping):
        return None
    given = token_count(_first(content, "prompt_tokens", "input_tokens"))
    written = token_count(_first(content, "completion_tokens", "output_tokens"))
    total = token_count(content.get("total_tokens"))
    if total is not None and given is None and written is not None:
        given = total - written
    if total is not None and given is not None:
        written = max(written or 0, total - given)
    if given is None or written is None or given < 0:
        return None
    read = _detail(_first(content, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    stored = _detail(_first(content, "prompt_tokens_details", "input_tokens_details"), "cache_write_tokens")
    if read + stored > given:
        read = stored = 0
    thought = _detail(_first(content, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    return Usage(
        input=given - read - stored,
        cache_read=read,
        cache_write=stored,
        output=written,
        reasoning=min(thought, written),
    )


def plain_completion(raw: bytes) -> bytes:
    """A body as it came, or if the server streamed although it was not asked to, the completion its pieces make."""
    if not raw.lstrip().startswith((b"data:", b"event:", b":")):
        return raw
    pieces = [line[5:].strip() for line in raw.splitlines() if line.startswith(b"data:")]
    chunks: list[Mapping[str, Any]] = []
    for piece in pieces:
        if piece == b"[DONE]":
            continue
        try:
            chunk = read_json(piece)
        except ValueError:
            continue  # torn off: what came before it says whether the answer is whole
        if isinstance(chunk, Mapping):
            chunks.append(chunk)
    return orjson.dumps(_joined(chunks, whole=b"[DONE]" in pieces))


def _joined(chunks: Sequence[Mapping[str, Any]], whole: bool) -> Mapping[str, Any]:
    error = next((chunk["error"] for chunk in chunks if chunk.get("error")), None)
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
    reason, usage, model, seen = None, None, "", False
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        model = chunk.get("model") or model
        choice = _choice(chunk)
        if choice is None:
            continue
        seen = True
        delta = _first(choice, "delta", "message")
        for name, said in texts.items() if isinstance(delta, Mapping) else ():
            said.append(joined_text(delta.get(name)))
        reason = choice.get("finish_reason") or reason
    if error is not None and not "".join(texts["content"]).strip():
        return {"error": error}
    if reason is None and not whole:
        reason = "length"
    message = {name: "".join(said) for name, said in texts.items()}
    choices = [{"index": 0, "message": message, "finish_reason": reason or "stop"}] if seen else []
    return {"object": "chat.completion", "model": model, "choices": choices, "usage": usage}


def _choice(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else choices
    return first if isinstance(first, Mapping) and first else None


def _first(content: Mapping[str, Any], *names: str) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)


def _text(message: Mapping[str, Any], finish: Finish) -> tuple[str, str]:
    """(text, where it stood if not in the content)."""
    text = joined_text(message.get("content"))
    if text.strip():
        return text, ""
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, list) else []
    called = [call.get("function") for call in calls if isinstance(call, Mapping)] or [message.get("function_call")]
    functions: list[Mapping[str, Any]] = [function for function in called if isinstance(function, Mapping)]
    if len(functions) == 1:
        return joined_text(functions[0].get("arguments")), "content is empty; the answer stood in a tool call"
    if functions:
        return text, f"content is empty beside {len(functions)} tool calls"
    thought = joined_text(_first(message, "reasoning_content", "reasoning"))
    if not thought.strip():
        return text, "content is empty"
    # What was cut off while it thought is no answer: its first words are about the question.
    told = "content is empty; the answer stood in reasoning_content"
    return ("", "content is empty, all was spent on reasoning_content") if finish == "length" else (thought, told)


def _refusal(message: Mapping[str, Any], finish: Finish) -> str:
    refusal = message.get("refusal")
    if refusal:
        return joined_text(refusal)
    return "finish_reason content_filter" if finish == "refusal" else ""


def _detail(details: Any, name: str) -> int:
    return (token_count(details.get(name)) or 0) if isinstance(details, Mapping) else 0


def _first_said(choice: Mapping[str, Any]) -> Mapping[str, float] | None:
    """Probabilities at the first token that is neither blank nor markup nor thinking; None without readable ones."""
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(entries, list):
        return None
    tokens = [entry.get("token") if isinstance(entry, Mapping) else None for entry in entries]
    said = [token for token in tokens if isinstance(token, str)]
    if len(said) != len(tokens):
        return None
    closing = max((number for number, token in enumerate(said) if "</think" in token), default=-1)
    for number, token in enumerate(said):
        is_markup = not any(letter.isalnum() for letter in token.strip(_BLANK)) or "<think" in token
        if number > closing and not is_markup:
            return _probabilities(entries[number].get("top_logprobs"))
    return None


def _probabilities(top: Any) -> Mapping[str, float] | None:
    if not isinstance(top, list) or not top:
        return None
    found: dict[str, float] = {}
    for entry in top:
        token: Any = entry.get("token") if isinstance(entry, Mapping) else None
        logprob: Any = entry.get("logprob") if isinstance(entry, Mapping) else None
        is_number = isinstance(logprob, int | float) and not isinstance(logprob, bool)
        # One number that is none makes the others as doubtful: the word of the text is better evidence.
        if not isinstance(token, str) or not is_number or not logprob <= _MOST_LOGPROB:
            return None
        found[token] = found.get(token, 0.0) + math.exp(min(logprob, 0.0))
    return found
