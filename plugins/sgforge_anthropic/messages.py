"""anthropic/NAME: the vendor's SDK with its aiohttp transport; messages, and its batch endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from sgforge.models import (
    BatchCalls,
    Capabilities,
    ChatRequest,
    EncodeImage,
    Reply,
    SdkProvider,
    as_sent,
    with_extra,
)
from sgforge_anthropic import batches
from sgforge_anthropic.wire import message_body, read_message

__all__ = ["AnthropicProvider"]

_CAPABILITIES: Final = Capabilities(
    batch=True,
    max_image_side=1568,
    max_image_bytes=3_700_000,
    image_tokens=4800,
    sampling=frozenset({"stop", "effort"}),
)


class AnthropicProvider(SdkProvider):
    """Messages through AsyncAnthropic. The endpoint takes no seed, and its models no temperature or top_p any more.

    Image limits: 8000 pixels and 5 MB as base64 are the endpoint's. Models before Claude 4.7 scale to 1568 pixels
    themselves; later ones look at up to 2576, which costs up to three times as much, so it is left to max_image_side.
    No model bills an image as more than 4784 tokens.
    """

    name = "anthropic"
    module = "anthropic"
    client_class = "AsyncAnthropic"
    base_url = "https://api.anthropic.com"
    key_env = "ANTHROPIC_API_KEY"
    """API key of models named `anthropic/...`."""
    path = "/v1/messages"
    batches: ClassVar[BatchCalls] = batches
    max_batch_requests = 100_000
    max_batch_bytes = 240_000_000

    def capabilities(self, model: str) -> Capabilities:
        """The same for all models."""
        return _CAPABILITIES

    def body(self, model: str, request: ChatRequest, encode: EncodeImage) -> Mapping[str, Any]:
        """A messages body."""
        body = message_body(model, as_sent(request, self.settings), encode)
        if self.settings.thinking is not None:
            body["thinking"] = {"type": "adaptive" if self.settings.thinking else "disabled"}
        return with_extra(body, self.settings)

    def read(self, raw: bytes) -> Reply:
        """A message."""
        return read_message(raw)
