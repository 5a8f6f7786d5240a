"""What the tests of the gateway share: providers by name, a gateway on a temporary file, requests."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from support.waiting import LONGEST

from sgforge.models import ChatRequest, Gateway, GatewaySettings, ImagePart, Message, ModelSettings, TextPart
from sgforge.models.gateway import Watcher
from sgforge.models.provider import Provider
from sgforge.testing.fake_provider import FakeProvider

_T = TypeVar("_T")
TARGETS = {
    "compat": "sgforge_openai.compat:CompatProvider",
    "openai": "sgforge_openai.chat:OpenAIProvider",
    "anthropic": "sgforge_anthropic.messages:AnthropicProvider",
    "hf": "sgforge_transformers.provider:HfProvider",
}
REMOTE = ("compat/m", "openai/m", "anthropic/m")
KEYS = {
    "OPENAI_API_KEY": "sk-openai-secret-1",
    "ANTHROPIC_API_KEY": "sk-ant-secret-2",
    "SGFORGE_COMPAT_API_KEY": "c-secret-3",
}
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["label", "count"],
    "additionalProperties": False,
}


def resolve(name: str, settings: ModelSettings) -> Provider:
    """The provider behind a name, without going through the plugin registry."""
    module, _, target = TARGETS[name].partition(":")
    provider: Provider = getattr(importlib.import_module(module), target)(settings)
    return provider


def gateway(folder: Path, watcher: Watcher | None = None, **settings: Any) -> Gateway:
    """A gateway on `folder`/responses.sqlite."""
    return Gateway.open(folder / "responses.sqlite", GatewaySettings(**settings), resolve, watcher)


def at(fake: FakeProvider, name: str, **settings: Any) -> ModelSettings:
    """Settings of a model that is served by the fake provider."""
    given = {"input_usd": 1.0, "output_usd": 2.0, "image_tokens": 500, "deadline_s": LONGEST, **settings}
    return ModelSettings(base_url=fake.anthropic_url if name.startswith("anthropic") else fake.openai_url, **given)


def ask(text: str = "what is it?", images: Sequence[ImagePart] = (), **fields: Any) -> ChatRequest:
    """A request with one user message."""
    return ChatRequest((Message("user", (*images, TextPart(text))),), **{"max_tokens": 50, **fields})


def picture(size: tuple[int, int] = (32, 24), color: tuple[int, int, int] = (200, 10, 30)) -> ImagePart:
    """A small encoded image."""
    return ImagePart.from_pil(Image.new("RGB", size, color))


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a fresh event loop, not for ever."""

    async def limited() -> _T:
        async with asyncio.timeout(LONGEST):
            return await work

    return asyncio.run(limited())
