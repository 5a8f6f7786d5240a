"""compat/NAME: any OpenAI-compatible server (vLLM, Ollama, SGLang ...) by its base_url, over plain aiohttp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson

from sgforge.models import (
    Capabilities,
    ChatRequest,
    EncodeImage,
    ModelSettings,
    ProviderError,
    Reply,
    as_sent,
    find_key,
    http_error,
    identity_with,
    redact,
    with_extra,
)
from sgforge_openai.answers import plain_completion, read_chat
from sgforge_openai.proxies import cannot_use, connect_error, proxy_for, through, told_through
from sgforge_openai.wire import chat_body

__all__ = ["KEY_ENV", "CompatProvider"]

KEY_ENV: Final = "SGFORGE_COMPAT_API_KEY"
"""API key of models named `compat/...`, if their server wants one: a vendor's key must not reach another server."""
_CONNECT_S: Final = 30.0


class CompatProvider:
    """Chat completions without an SDK. The key is optional."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

    def capabilities(self, model: str) -> Capabilities:
        """Everything but batches; what a server cannot do it says itself."""
        return Capabilities(probabilities=self.settings.probabilities is not False, enforces_schema=False)

    def identity(self, model: str) -> str | None:
        """The server, as one name may be another model elsewhere, and what the settings add to requests."""
        return identity_with(self.settings.base_url and self.settings.base_url.rstrip("/"), self.settings)

    def problems(self, model: str) -> list[str]:
        """A base_url is needed, and a proxy that can be used, if there is one."""
        if not self.settings.base_url:
            return [f'give base_url in [models."compat/{model}"]']
        problem = cannot_use(proxy_for(self.settings.base_url))
        return [] if problem is None else [problem]

    def body(self, model: str, request: ChatRequest, encode: EncodeImage) -> Mapping[str, Any]:
        """A chat completions body."""
        asked = as_sent(request, self.settings)
        body = chat_body(model, asked, encode, "max_tokens", self.capabilities(model).probabilities)
        if self.settings.thinking is not None:
            # As vLLM and SGLang take it: the chat template decides whether the model thinks.
            body["chat_template_kwargs"] = {"enable_thinking": self.settings.thinking}
        return with_extra(body, self.settings)

    def load(self, model: str) -> None:
        """Nothing takes long here."""

    async def send(self, body: Mapping[str, Any]) -> bytes:
        """One POST; connection faults after the connection stood may have been billed. A redirect is not followed:
        the key is for this server."""
        url = f"{(self.settings.base_url or '').rstrip('/')}/chat/completions"
        session = self._open(url)
        by = told_through(self._proxy)
        try:
            async with session.post(url, data=orjson.dumps(body), allow_redirects=False, proxy=self._proxy) as response:
                raw = await response.read()
                if 200 <= response.status < 300:
                    return plain_completion(raw)
                raise through(http_error(response.status, response.headers, raw), self._proxy)
        except aiohttp.ClientHttpProxyError as error:
            raise connect_error(url, self._proxy, error.status, redact(error.message)) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise ProviderError(redact(f"cannot connect to {url}{by}: {error}")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderError(redact(f"connection lost{by}: {error!r}"), maybe_billed=True) from error

    def read(self, raw: bytes) -> Reply:
        """A chat completion."""
        return read_chat(raw)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self, url: str) -> aiohttp.ClientSession:
        if self._session is None:
            self._proxy = proxy_for(url)
            headers = {"Content-Type": "application/json"}
            key = find_key(self.settings, KEY_ENV)
            if key is not None:
                headers["Authorization"] = f"Bearer {key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_S),
                headers=headers,
            )
        return self._session
