"""Is an answer usable? Parsing, schema validation, the words of a repair, probabilities of the choices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import attrs
import orjson

from sgforge.models.errors import ModelError
from sgforge.models.provider import Reply
from sgforge.models.values import ChatRequest, Message, TextPart

__all__ = ["Checked", "Outcome", "check", "check_schema", "choice_probabilities", "parse", "repair_request"]

Outcome: TypeAlias = Literal["ok", "refused", "truncated", "invalid"]

_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_MAX_FAULTS: Final = 8


@attrs.frozen
class Checked:
    """What became of an answer: its outcome, the parsed value, and the faults found as sentences."""

    outcome: Outcome
    parsed: Any = None
    detail: str = ""


def check(request: ChatRequest, reply: Reply) -> Checked:
    """Judge a reply against its request; one that was cut off or refused is never looked into."""
    if reply.finish == "refusal":
        return Checked("refused", detail=reply.refusal or reply.text[:500])
    if request.choices and (reply.text.strip() or reply.tokens):
        return Checked("ok")  # the first word is all that counts
    if reply.finish == "length":
        thought = reply.usage.reasoning if reply.usage is not None else 0
        spent = f", {thought} of them spent on reasoning" if thought else ""
        return Checked("truncated", detail=f"cut off at max_tokens={request.max_tokens}{spent}: raise max_tokens")
    if request.schema is None:
        return Checked("ok") if reply.text.strip() else Checked("invalid", detail="the answer is empty")
    try:
        parsed = parse(reply.text)
    except ValueError as error:
        return Checked("invalid", detail=f"not JSON: {error}")
    faults = _faults(request.schema, parsed)
    return Checked("invalid", parsed, "; ".join(faults)) if faults else Checked("ok", parsed)


def check_schema(request: ChatRequest) -> None:
    """A schema that is not one is a `ModelError` of the request, found before anything is paid."""
    if request.schema is None:
        return
    from jsonschema import SchemaError

    try:
        _validator(orjson.dumps(request.schema))
    except SchemaError as error:
        raise ModelError("bad_schema", f"the request's schema is no JSON Schema: {error.message}") from error


def parse(text: str) -> Any:
    """The JSON value of an answer; a single code fence around it is taken off. Anything else is a ValueError."""
    fenced = _FENCED.fullmatch(text)
    return orjson.loads(fenced.group(1) if fenced else text)


def repair_request(request: ChatRequest, reply: Reply, faults: str) -> ChatRequest:
    """The same question with the faulty answer and what is wrong with it."""
    complaint = f"That answer does not satisfy the required JSON schema ({faults}). Answer again with valid JSON only."
    said = Message("assistant", (TextPart(reply.text or "(nothing)"),))
    return attrs.evolve(request, messages=(*request.messages, said, Message("user", (TextPart(complaint),))))


def choice_probabilities(choices: Sequence[str], tokens: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """Probability mass of each choice at the first answer token.

    A token speaks for a choice when, without surrounding blanks, punctuation and case, it is that word. None when the
    provider gave none.
    """
    if tokens is None or not choices:
        return None
    totals = dict.fromkeys(choices, 0.0)
    for token, probability in tokens.items():
        word = token.strip(" \t\r\n\u2581\u0120.,:;!?\"'*`").casefold()
        for choice in choices:
            if word == choice.casefold():
                totals[choice] += probability
    return totals


def _faults(schema: Mapping[str, Any], value: Any) -> list[str]:
    found = []
    for error in _validator(orjson.dumps(schema)).iter_errors(value):
        found.append(f"at {error.json_path}: {error.message[:200]}")
        if len(found) == _MAX_FAULTS:
            break
    return found


@lru_cache(maxsize=64)
def _validator(schema: bytes) -> Any:
    from jsonschema import Draft202012Validator

    content = orjson.loads(schema)
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)
