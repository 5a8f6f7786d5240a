"""openai/NAME: the vendor's SDK with its aiohttp transport; chat completions, and its batch endpoint."""

from __future__ import annotations

import re
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
from sgforge_openai import batches
from sgforge_openai.answers import plain_completion, read_chat
from sgforge_openai.wire import chat_body

__all__ = ["OpenAIProvider"]

_REASONING = re.compile(r"(o\d|gpt-([5-9]|1\d))(?!.*chat-latest)")
"""Names of models that think before they answer: they refuse temperature, top_p, stop and logprobs."""
_REASONING_SAMPLING: Final = frozenset({"seed", "effort"})
_SAMPLING: Final = _REASONING_SAMPLING | {"temperature", "top_p", "stop"}


class OpenAIProvider(SdkProvider):
    """Chat completions through AsyncOpenAI.

    Image limits: models before GPT-5.4 scale images to fit 2048 pixels themselves, for later ones it bounds the cost.
    """

    name = "openai"
    module = "openai"
    client_class = "AsyncOpenAI"
    base_url = "https://api.openai.com/v1"
    key_env = "OPENAI_API_KEY"
    """API key of models named `openai/...`."""
    path = "/chat/completions"
    batches: ClassVar[BatchCalls] = batches
    max_batch_requests = 50_000
    max_batch_bytes = 190_000_000

    def capabilities(self, model: str) -> Capabilities:
        """Everything, but for what models that reason refuse."""
        reasons = _REASONING.match(model) is not None
        own = self.settings.probabilities
        return Capabilities(
            probabilities=not reasons if own is None else own,
            batch=True,
            max_image_side=2048,
            max_image_bytes=20_000_000,
            sampling=_REASONING_SAMPLING if reasons else _SAMPLING,
        )

    def body(self, model: str, request: ChatRequest, encode: EncodeImage) -> Mapping[str, Any]:
        """A chat completions body."""
        probabilities = self.capabilities(model).probabilities
        if self.settings.thinking is not None:
            raise ValueError("thinking is for anthropic/ and compat/; for openai/ effort says how much it thinks")
        asked = as_sent(request, self.settings)
        body = chat_body(model, asked, encode, "max_completion_tokens", probabilities=probabilities)
        return with_extra(body, self.settings)

    async def send(self, body: Mapping[str, Any]) -> bytes:
        """One call through the SDK's client."""
        return plain_completion(await super().send(body))

    def read(self, raw: bytes) -> Reply:
        """A chat completion."""
        return read_chat(raw)
