"""Questions to a model as messages: asked in one process, answered in the driver, where the one gateway is.

So cache, budget, limits and ledger are one for all processes of a run, and a call that was paid before a process was
lost is not paid again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import msgpack

from sgforge.engine.executors.error_messages import error_fields, error_of
from sgforge.engine.executors.file_messages import answer_file, is_file_question
from sgforge.engine.executors.picture_messages import answer_picture, is_picture_question
from sgforge.images import Roots
from sgforge.stages import Files, Model

if TYPE_CHECKING:
    from sgforge.models import Capabilities, ChatRequest, ChatResponse

__all__ = ["DistantModel", "Send", "answer_question", "model_fields"]

Send: TypeAlias = Callable[[bytes], "Future[bytes]"]
"""Sends a question to the driver; the future is of what `answer_question` gives there."""


@attrs.frozen(eq=False)
class DistantModel:
    """A model as a component in another process sees it: each question is a message to the driver."""

    name: str
    capabilities: Capabilities
    max_in_flight: int
    _send: Send = attrs.field(repr=False)

    @classmethod
    def of(cls, fields: Mapping[str, Any], send: Send) -> DistantModel:
        """The model of which `model_fields` gave these."""
        from sgforge.models import Capabilities

        can = fields["capabilities"]
        return cls(
            name=fields["name"],
            capabilities=Capabilities(**{**can, "sampling": frozenset(can["sampling"])}),
            max_in_flight=fields["max_in_flight"],
            send=send,
        )

    async def complete(self, request: ChatRequest, /) -> ChatResponse:
        """The answer to a request; a `ModelError` says why there is none, as it would in the driver."""
        from sgforge.models.errors import NotSentError
        from sgforge.models.money.call_trace import note_call, note_not_sent

        question = await asyncio.to_thread(_pack_request, self.name, request)
        answer = msgpack.unpackb(await asyncio.wrap_future(self._send(question)))
        if "error" in answer:
            error = error_of(answer["error"])
            if isinstance(error, NotSentError):
                note_not_sent(error)
            raise error
        response = _response_of(answer)
        # The driver's collectors are not here: whoever records calls in this process hears of it now.
        note_call(response.call_id)
        return response


def model_fields(model: Model) -> dict[str, Any]:
    """What a component may look at in a model, as plain values."""
    can = attrs.asdict(model.capabilities)
    return {
        "name": model.name,
        "capabilities": {**can, "sampling": sorted(can["sampling"])},
        "max_in_flight": model.max_in_flight,
    }


async def answer_question(
    models: Iterable[Model], question: bytes, files: Files | None = None, images: Roots | None = None
) -> bytes:
    """What one of these models, which the question names, answers to another process, or why it does not.

    A file that the component made there is kept in `files`, a picture that it looks at is read from `images`.
    """
    fields = msgpack.unpackb(question)
    if files is not None and is_file_question(fields):
        return _packed(await asyncio.to_thread(answer_file, files, fields))
    if images is not None and is_picture_question(fields):
        return _packed(await asyncio.to_thread(answer_picture, images, fields))
    name = fields.pop("asked")
    try:
        model = next(model for model in models if model.name == name)
        answer = _response_fields(await model.complete(_request_of(fields)))
    except Exception as error:  # raised where it was asked
        answer = {"error": error_fields(error)}
    return _packed(answer)


def _packed(answer: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(answer)
    return packed


def _pack_request(asked: str, request: ChatRequest) -> bytes:
    from sgforge.models import TextPart

    # Pictures as they were encoded, and no part twice: they are nearly all of a message.
    pictures = {part.sha256: part.load() for part in request.images}
    messages = [
        [
            message.role,
            [
                [part.text]
                if isinstance(part, TextPart)
                else [part.sha256, part.media_type, part.size, part.byte_count, part.detail]
                for part in message.parts
            ],
        ]
        for message in request.messages
    ]
    fields = {field.name: getattr(request, field.name) for field in attrs.fields(type(request))}
    schema = None if request.schema is None else json.dumps(request.schema)
    packed: bytes = msgpack.packb(
        {
            **fields,
            "asked": asked,
            "messages": messages,
            "schema": schema,
            "pictures": pictures,
            "reading": attrs.asdict(request.reading),
        }
    )
    return packed


def _request_of(fields: dict[str, Any]) -> ChatRequest:
    from sgforge.models import ChatRequest, ImagePart, Message, Reading, TextPart

    pictures, messages = fields.pop("pictures"), fields.pop("messages")
    reading = Reading(**fields.pop("reading"))

    def part(values: list[Any]) -> TextPart | ImagePart:
        if len(values) == 1:
            return TextPart(values[0])
        sha256, media_type, size, byte_count, detail = values
        return ImagePart(
            sha256=sha256,
            media_type=media_type,
            size=tuple(size),
            byte_count=byte_count,
            load=lambda: pictures[sha256],
            detail=detail,
        )

    schema = fields.pop("schema")
    return ChatRequest(
        messages=[Message(role, map(part, parts)) for role, parts in messages],
        schema=None if schema is None else json.loads(schema),
        reading=reading,
        **fields,
    )


def _response_fields(response: ChatResponse) -> dict[str, Any]:
    fields = {field.name: getattr(response, field.name) for field in attrs.fields(type(response))}
    probabilities = None if response.probabilities is None else dict(response.probabilities)
    # As text: JSON's whole numbers have no end, those of the message's bytes have.
    parsed = json.dumps(response.parsed)
    plain = {"usage": attrs.asdict(response.usage), "probabilities": probabilities, "dropped": dict(response.dropped)}
    return {**fields, **plain, "parsed": parsed}


def _response_of(fields: dict[str, Any]) -> ChatResponse:
    from sgforge.models import ChatResponse, Usage

    usage, notes, parsed = Usage(**fields.pop("usage")), tuple(fields.pop("notes")), json.loads(fields.pop("parsed"))
    return ChatResponse(usage=usage, notes=notes, parsed=parsed, **fields)
