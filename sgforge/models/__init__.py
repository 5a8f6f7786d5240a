"""The model gateway: one way to ask a model, for teachers, editors and judges; money is never spent twice.

A component never calls a vendor. It builds a `ChatRequest` and awaits its model:

    request = ChatRequest(
        messages=(Message("system", (TextPart("..."),)), Message("user", (ImagePart.from_pil(image), TextPart("...")))),
        schema={"type": "object", ...},      # answers are validated against it; one repair attempt
        max_tokens=2048,
    )
    response = await resources.model.complete(request)      # a sgforge.stages.Model
    response.parsed                                          # the validated JSON value (response.text without a schema)

A request that yields no usable answer raises `ModelError` (`.reason`: a short code such as "refused", "truncated",
"invalid", "timeout"; `.detail` for people): let it pass, the engine turns it into a `Failure` of the item. Errors whose
`stops_run` is true (budget reached, keys refused) end the intake of the whole run.

For a yes/no judge: `ChatRequest(..., choices=("yes", "no"))` and `response.yes_probability`, which is None where the
provider gives no probabilities (`model.capabilities.probabilities` says so before).

Whoever runs components opens one gateway over a `responses.sqlite` and binds models to it:

    async with Gateway.open(path, GatewaySettings(budget_usd=5.0), resolve_provider) as gateway:
        model = gateway.bind("openai/gpt-6.2-sol", ModelSettings(max_in_flight=200))
        with collect_calls() as calls:          # ids of the calls that stand behind one item's answer
            ...

`resolve_provider(name, settings) -> Provider` builds the provider that a plugin registered under `name`.
In order: response cache, single flight, budget reservation, limits, the provider's call with retries, validation and
repair, one commit of answer and cost, release of the slot. What is where: `values` requests and responses, `gateway`
the order of work, `purchase` one model's way to its provider, `cache` the SQLite file and what a request is named by,
`limits` concurrency, rates, retries and when to stop asking, `money` prices, ledger and reservations, `provider` and
`wire` what a vendor plugin implements and uses, `batch` batch endpoints, `estimate` plans, `cross_thread` models asked
from other threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgforge.lazy import names_from

__all__ = [
    "JSON_OPTIONS",
    "UNREADABLE",
    "BatchCalls",
    "BatchEntry",
    "BatchResult",
    "BatchState",
    "BoundModel",
    "Capabilities",
    "ChatRequest",
    "ChatResponse",
    "EncodeImage",
    "Finish",
    "Gateway",
    "GatewaySettings",
    "ImagePart",
    "Message",
    "ModelError",
    "ModelSettings",
    "Provider",
    "ProviderError",
    "Reading",
    "Reply",
    "SdkProvider",
    "TextPart",
    "Usage",
    "as_sent",
    "collect_calls",
    "find_key",
    "http_error",
    "identity_with",
    "joined_text",
    "read_json",
    "redact",
    "token_count",
    "with_extra",
]

_HOMES = {
    "BatchCalls": "sgforge.models.wire.sdk",
    "BatchEntry": "sgforge.models.provider",
    "BatchResult": "sgforge.models.provider",
    "BatchState": "sgforge.models.provider",
    "BoundModel": "sgforge.models.gateway",
    "Capabilities": "sgforge.models.provider",
    "ChatRequest": "sgforge.models.values",
    "ChatResponse": "sgforge.models.values",
    "EncodeImage": "sgforge.models.provider",
    "Finish": "sgforge.models.provider",
    "Gateway": "sgforge.models.gateway",
    "GatewaySettings": "sgforge.models.settings",
    "ImagePart": "sgforge.models.values",
    "JSON_OPTIONS": "sgforge.models.wire.sdk",
    "Message": "sgforge.models.values",
    "ModelError": "sgforge.models.errors",
    "ModelSettings": "sgforge.models.settings",
    "Provider": "sgforge.models.provider",
    "ProviderError": "sgforge.models.errors",
    "Reading": "sgforge.models.values",
    "Reply": "sgforge.models.provider",
    "SdkProvider": "sgforge.models.wire.sdk",
    "TextPart": "sgforge.models.values",
    "UNREADABLE": "sgforge.models.provider",
    "Usage": "sgforge.models.values",
    "as_sent": "sgforge.models.wire.dressing",
    "collect_calls": "sgforge.models.money.call_trace",
    "find_key": "sgforge.models.wire.api_keys",
    "http_error": "sgforge.models.wire.failures",
    "redact": "sgforge.models.wire.api_keys",
    "token_count": "sgforge.models.wire.bodies",
    "with_extra": "sgforge.models.wire.dressing",
    "read_json": "sgforge.models.wire.bodies",
    "identity_with": "sgforge.models.wire.dressing",
    "joined_text": "sgforge.models.wire.bodies",
}


__getattr__ = names_from(__name__, _HOMES)


if TYPE_CHECKING:
    from sgforge.models.errors import ModelError, ProviderError
    from sgforge.models.gateway import BoundModel, Gateway
    from sgforge.models.money.call_trace import collect_calls
    from sgforge.models.provider import (
        UNREADABLE,
        BatchEntry,
        BatchResult,
        BatchState,
        Capabilities,
        EncodeImage,
        Finish,
        Provider,
        Reply,
    )
    from sgforge.models.settings import GatewaySettings, ModelSettings
    from sgforge.models.values import ChatRequest, ChatResponse, ImagePart, Message, Reading, TextPart, Usage
    from sgforge.models.wire.api_keys import find_key, redact
    from sgforge.models.wire.bodies import joined_text, read_json, token_count
    from sgforge.models.wire.dressing import as_sent, identity_with, with_extra
    from sgforge.models.wire.failures import http_error
    from sgforge.models.wire.sdk import JSON_OPTIONS, BatchCalls, SdkProvider
