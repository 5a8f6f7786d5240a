"""A provider in this process, for tests of the gateway's own logic: it answers when and how its script says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sgforge.models import Capabilities, ChatRequest, Gateway, GatewaySettings, ModelSettings, Usage
from sgforge.models.gateway import BoundModel
from sgforge.models.provider import EncodeImage, Reply

Script = Callable[[str, int], Awaitable[str]]
"""What comes of the text of a question, asked for the so-manieth time: the answer's text, or an error."""


class ToyProvider:
    """Every answer used 10 tokens of input and 5 of output. `sent`: how often each text was sent."""

    def __init__(self, script: Script) -> None:
        self.settings = ModelSettings()
        self.sent: Counter[str] = Counter()
        self._script = script

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(paid=True)

    def identity(self, model: str) -> None:
        return None

    def problems(self, model: str) -> list[str]:
        return []

    def body(self, model: str, request: ChatRequest, encode: EncodeImage) -> dict[str, Any]:
        for part in request.images:
            encode(part)
        parts = request.messages[-1].parts
        return {"text": parts[-1].text}  # type: ignore[union-attr]

    def load(self, model: str) -> None: ...

    async def send(self, body: Any) -> bytes:
        text = body["text"]
        self.sent[text] += 1
        return json.dumps({"answer": await self._script(text, self.sent[text])}).encode()

    def read(self, raw: bytes) -> Reply:
        return Reply(json.loads(raw)["answer"], "stop", Usage(input=10, output=5))

    async def close(self) -> None: ...


def bind(gateway: Gateway, provider: ToyProvider, **settings: Any) -> BoundModel:
    """The toy as a model of the gateway: one dollar for a million tokens of input, two for as many of output."""
    provider.settings = ModelSettings(**{"input_usd": 1.0, "output_usd": 2.0, "image_tokens": 100, **settings})
    return gateway.bind("toy/one", provider.settings)


def toy_gateway(folder: Path, provider: ToyProvider, **settings: Any) -> Gateway:
    """A gateway on `folder`/responses.sqlite that knows no other provider."""
    return Gateway.open(folder / "responses.sqlite", GatewaySettings(**settings), lambda name, own: provider)
