"""Is an answer usable? What of it can be used, the words of a repair, probabilities of the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import attrs
import orjson

from sgforge.models.cache.json_text import cut_value, values_in
from sgforge.models.cache.mending import Mended, is_whole, mended
from sgforge.models.errors import ModelError
from sgforge.models.provider import Reply
from sgforge.models.values import ChatRequest, Message, Reading, TextPart
from sgforge.models.wire.bodies import read_json
from sgforge.models.wire.dressing import schema_words

__all__ = ["USABLE", "Checked", "Outcome", "check", "check_schema", "choice_probabilities", "repair_request"]

Outcome: TypeAlias = Literal["ok", "partial", "refused", "truncated", "invalid", "malformed"]
"""`partial`: cut off, and its whole items are of use; `malformed`: a body in which there is no answer to read."""
USABLE: Final = frozenset({"ok", "partial"})

_MAX_FAULTS: Final = 8


@attrs.frozen
class Checked:
    """What became of an answer: its outcome, the value that can be used, and the faults found as sentences.

    `reply`: what was judged, where it is to be handed on.
    """

    outcome: Outcome
    parsed: Any = None
    detail: str = ""
    mended: int = 0
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    reply: Reply | None = attrs.field(default=None, eq=False)


def check(request: ChatRequest, reply: Reply, is_known: bool = False) -> Checked:
    """Judge a reply against its request; one that was refused is never looked into. `is_known`: it was held against
    its schema when it was stored, so it need only be read."""
    return attrs.evolve(_check(request, reply, is_known), reply=reply)


def _check(request: ChatRequest, reply: Reply, is_known: bool) -> Checked:
    if reply.fault:
        return Checked("malformed", detail=reply.fault)
    if reply.finish == "refusal":
        return Checked("refused", detail=reply.refusal or reply.text[:500])
    if request.choices and (reply.text.strip() or reply.tokens):
        return Checked("ok")  # the first word is all that counts
    if request.schema is not None and reply.text.strip():
        return _check_value(request, request.schema, reply, is_known)
    if reply.finish == "length":
        return Checked("truncated", detail=_cut_off(request, reply))
    if reply.text.strip():
        return Checked("ok")
    return Checked("invalid", detail=f"the answer is empty ({reply.remark})" if reply.remark else "the answer is empty")


def _check_value(request: ChatRequest, schema: Mapping[str, Any], reply: Reply, is_known: bool) -> Checked:
    """The one value of a text that can be used; of a text that was cut off what is whole of it."""
    found = values_in(reply.text)
    checked = [_judged(schema, request.reading, value, is_known and len(found) == 1) for value in found]
    usable = [one for one in checked if one.outcome == "ok"]
    if len(usable) == 1 or (usable and all(one.parsed == usable[0].parsed for one in usable)):
        return usable[0]
    if reply.finish == "length":
        value = cut_value(reply.text)
        part = None if value is None else _judged(schema, request.reading, value)
        if part is not None and part.outcome == "ok":
            return attrs.evolve(part, outcome="partial", detail=_cut_off(request, reply))
        return Checked("truncated", detail=_cut_off(request, reply))
    if len(usable) > 1:
        return Checked("invalid", detail=f"{len(usable)} different JSON values that would do stand in the text")
    return checked[0] if checked else Checked("invalid", detail=f"not JSON: {_why_not(reply)}")


def _why_not(reply: Reply) -> str:
    try:
        read_json(reply.text)
    except ValueError as error:
        return f"{error} ({reply.remark})" if reply.remark else str(error)
    return "no value in it"


def _cut_off(request: ChatRequest, reply: Reply) -> str:
    thought = reply.usage.reasoning if reply.usage is not None else 0
    spent = f", {thought} of them spent on reasoning" if thought else ""
    said = f" ({reply.remark})" if reply.remark and not thought else ""
    return f"cut off at max_tokens={request.max_tokens}{spent}{said}: raise max_tokens"


def _judged(schema: Mapping[str, Any], reading: Reading, value: Any, is_known: bool = False) -> Checked:
    """One value: as the schema has it, or mended; "invalid" where nothing of use is left."""
    work = mended(schema, value, reading)
    if is_known:
        # It was of use when it was bought, and what was made of it then stays.
        return Checked("ok", work.value, mended=work.count, dropped=dict(work.dropped))
    if work.numbered_from_0:
        names = ", ".join(reading.numbered)
        return Checked("invalid", detail=f"its numbers count from 0 where those given begin at 1 ({names})")
    # Most schemas say nothing that was not seen to; a validator takes ten times as long to say so.
    faults = [] if work.is_sound and _is_whole(orjson.dumps(schema)) else _faults(schema, work.value)
    if not faults and _has_use(schema, reading, value, work):
        return Checked("ok", work.value, mended=work.count, dropped=dict(work.dropped))
    told = _faults(schema, value) or faults or ["nothing of use is in it"]
    return Checked("invalid", work.value, detail="; ".join(told), mended=work.count, dropped=dict(work.dropped))


def _has_use(schema: Mapping[str, Any], reading: Reading, given: Any, work: Mended) -> bool:
    """Whether something is left: an item where some were left out, an item in each list that must hold one."""
    if not isinstance(work.value, Mapping):
        return bool(work.value) or not work.dropped
    properties = schema.get("properties", {})
    if isinstance(given, Mapping) and properties and schema.get("required") and not set(given) & set(properties):
        return False
    lists = {name: value for name, value in work.value.items() if isinstance(value, list)}
    if any(not lists.get(name) for name in reading.needed):
        return False
    return not work.dropped or any(lists.values())


def check_schema(request: ChatRequest) -> None:
    """A schema that is not one is a `ModelError` of the request, found before anything is paid."""
    if request.schema is None:
        return
    from jsonschema import SchemaError

    try:
        _validator(orjson.dumps(request.schema))
    except SchemaError as error:
        raise ModelError("bad_schema", f"the request's schema is no JSON Schema: {error.message}") from error


def repair_request(request: ChatRequest, reply: Reply, faults: str, with_schema: bool = True) -> ChatRequest:
    """The same question with the faulty answer, what is wrong with it, and mostly the schema in words."""
    complaint = f"That answer does not satisfy the required JSON schema ({faults}). Answer again with valid JSON only."
    if with_schema and request.schema is not None:
        complaint = f"{complaint} {schema_words(request.schema)}"
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
def _is_whole(schema: bytes) -> bool:
    return is_whole(orjson.loads(schema))


@lru_cache(maxsize=64)
def _validator(schema: bytes) -> Any:
    from jsonschema import Draft202012Validator

    content = orjson.loads(schema)
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)
