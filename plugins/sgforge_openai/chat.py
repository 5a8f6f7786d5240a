"""openai/NAME: the vendor's SDK with its aiohttp transport; chat completions, and its batch endpoint."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from sgforge.models.errors import ProviderError, RunStoppedError
from sgforge.models.keychain import find_key
from sgforge.models.provider import BatchEntry, BatchResult, BatchState, Capabilities, EncodeImage, Reply
from sgforge.models.retry import message_of, retry_after_s
from sgforge.models.settings import ModelSettings
from sgforge.models.values import ChatRequest
from sgforge_openai import batches
from sgforge_openai.wire import chat_body, read_chat

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAIProvider"]

_BASE_URL: Final = "https://api.openai.com/v1"
_KEY_ENV: Final = "OPENAI_API_KEY"
_JSON: Final[Any] = {"headers": {"Content-Type": "application/json"}}


class OpenAIProvider:
    """Chat completions through AsyncOpenAI. Its retries are off: the gateway's know the limits and the ledger.

    Image limits: the vendor scales images to fit 2048 pixels itself; larger ones only cost bytes.
    """

    capabilities = Capabilities(probabilities=True, batch=True, max_image_side=2048, max_image_bytes=20_000_000)
    max_batch_requests = 50_000
    max_batch_bytes = 190_000_000

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._client: AsyncOpenAI | None = None

    def identity(self, model: str) -> str | None:
        """The base_url, unless it is the vendor's."""
        url = (self.settings.base_url or _BASE_URL).rstrip("/")
        return None if url == _BASE_URL else url

    def problems(self, model: str) -> list[str]:
        """A key is needed."""
        return [] if find_key(self.settings, _KEY_ENV) else [f"no API key: {self._mend()}"]

    def body(self, model: str, request: ChatRequest, encode: EncodeImage) -> Mapping[str, Any]:
        """A chat completions body."""
        return chat_body(model, request, encode, "max_completion_tokens")

    def load(self, model: str) -> None:
        """Import the SDK, which takes a second or two."""
        importlib.import_module("openai")

    async def send(self, body: Mapping[str, Any]) -> bytes:
        """One call through the SDK's client; the body goes out as bytes, so images are not copied again."""
        with _provider_errors():
            raw: bytes = await self._open().post(
                "/chat/completions", cast_to=bytes, content=orjson.dumps(body), options=_JSON
            )
        return raw

    def read(self, raw: bytes) -> Reply:
        """A chat completion."""
        return read_chat(raw)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def submit_batch(self, lines: Sequence[BatchEntry], tag: str) -> str:
        """Start a batch; its remote id."""
        with _provider_errors():
            return await batches.submit(self._open(), lines, tag)

    async def find_batches(self, tag: str, created_after: float, total: int) -> list[str]:
        """Remote ids of what may be the batch submitted under `tag`."""
        with _provider_errors():
            return await batches.find(self._open(), tag, created_after)

    async def batch_state(self, remote_id: str) -> BatchState:
        """Where a batch stands."""
        with _provider_errors():
            return await batches.state(self._open(), remote_id)

    async def batch_results(self, remote_id: str) -> AsyncIterator[BatchResult]:
        """All results of an ended batch, in no order."""
        with _provider_errors():
            async for result in batches.results(self._open(), remote_id):
                yield result

    async def cancel_batch(self, remote_id: str) -> None:
        """Ask for the end of a batch."""
        with _provider_errors():
            await self._open().batches.cancel(remote_id)

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            import openai

            key = find_key(self.settings, _KEY_ENV)
            if key is None:
                raise RunStoppedError("no_key", f"openai/: no API key: {self._mend()}")
            self._client = openai.AsyncOpenAI(
                api_key=key,
                base_url=self.settings.base_url or _BASE_URL,
                max_retries=0,
                timeout=self.settings.timeout_s,
                http_client=openai.DefaultAioHttpClient(),
            )
        return self._client

    def _mend(self) -> str:
        return f"set the environment variable {self.settings.api_key_env or _KEY_ENV}, or name a file in api_key_file"


@contextmanager
def _provider_errors() -> Iterator[None]:
    """The SDK's errors as the gateway's. Without a response a call is billed for all we know, unless not even a
    connection stood."""
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        response = error.response
        raise ProviderError(
            message_of(response.content), status=error.status_code, retry_after=retry_after_s(response.headers)
        ) from None
    except openai.APITimeoutError as error:
        unsent = isinstance(error.__cause__, httpx2.ConnectTimeout)
        raise ProviderError("no answer in time", maybe_billed=not unsent, reason="timeout") from None
    except openai.APIConnectionError as error:
        unsent = isinstance(error.__cause__, httpx2.ConnectError)
        raise ProviderError(f"connection lost: {error.__cause__!r}", maybe_billed=not unsent) from None
