"""The name of a request: equal requests share one answer, whenever and however it was bought."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import attrs
import orjson

from sgforge.models.values import ChatRequest, Message, Part, TextPart
from sgforge.models.wire.pictures import Fit

__all__ = ["EARLIER_LIMITS", "KEY_VERSION", "RequestName", "call_id", "request_key", "request_name"]

KEY_VERSION: Final = 1
"""Raised when the meaning of a key's fields changes; old answers are then never found."""


EARLIER_LIMITS: Final = (
    *(16, 64, 128, 256, 512, 1000, 1024, 1500, 2000, 2048, 3000, 4000, 4096, 6000, 8000, 8192, 10000, 16000, 16384),
    *(20000, 32000, 32768, 65536),
)
"""Values of max_tokens under which answers are looked for that were stored before they were found without theirs."""


@attrs.frozen
class RequestName:
    """A request in canonical form; what is hashed of it names its answer.

    `key`, 32 bytes, stands for everything. `base` leaves max_tokens out: an answer that was not cut off is the same
    with more room.
    """

    content: bytes
    max_tokens: int

    @property
    def key(self) -> bytes:
        """What names the answer."""
        return hashlib.sha256(self.content).digest()

    @property
    def base(self) -> bytes:
        """What all requests share that differ in max_tokens alone."""
        return hashlib.sha256(self._with_limit(b"null")).digest()

    def key_at(self, max_tokens: int) -> bytes:
        """The key of the same request with another max_tokens."""
        return hashlib.sha256(self._with_limit(b"%d" % max_tokens)).digest()

    def _with_limit(self, limit: bytes) -> bytes:
        # The last one: text and schema, which may hold the same words, stand before it.
        head, field, tail = self.content.rpartition(b',"max_tokens":%d,"temperature":' % self.max_tokens)
        assert field, "every request has it"
        return b'%s,"max_tokens":%s,"temperature":%s' % (head, limit, tail)


def request_key(model: str, identity: str | None, request: ChatRequest, fit: Fit = Fit()) -> bytes:
    """The key of a request, 32 bytes; see `request_name`."""
    return request_name(model, identity, request, fit).key


def request_name(model: str, identity: str | None, request: ChatRequest, fit: Fit = Fit()) -> RequestName:
    """Everything that can change an answer.

    In it: "provider/model", `identity` (a base_url that is not the vendor's, a digest of weights), messages with
    images by their hash (and the limits of `fit` where it makes them smaller), schema (as ordered: models write in
    schema order), sampling, choices, ordinal. Not in it: keys, timeouts, retries, rates, prices, batch or online, how
    the answer is read.
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
    return RequestName(orjson.dumps(content), request.max_tokens)


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
