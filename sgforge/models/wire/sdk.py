"""Providers that go through a vendor's SDK: everything but the wire format, the limits and the batch endpoint's shape.

The SDKs are generated alike, so one class serves them: an async client with its retries off (the gateway's know the
limits and the ledger) over aiohttp, a plain `post`, errors of the same names. None is imported before it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar, Final, Protocol

import orjson

from sgforge.models.errors import RunStoppedError
from sgforge.models.provider import BatchEntry, BatchResult, BatchState
from sgforge.models.settings import ModelSettings
from sgforge.models.wire.api_keys import find_key
from sgforge.models.wire.dressing import identity_with
from sgforge.models.wire.failures import sdk_errors

__all__ = ["JSON_OPTIONS", "BatchCalls", "SdkProvider"]

JSON_OPTIONS: Final[Any] = {"headers": {"Content-Type": "application/json"}}
"""Options of a `post` whose content is JSON as bytes: images are not copied again on their way out."""


class BatchCalls(Protocol):
    """A vendor's batch endpoint, as functions (mostly a module) of the SDK's client; see `BatchProvider`."""

    async def submit(self, client: Any, lines: Sequence[BatchEntry], tag: str) -> str:
        """Start a batch; its remote id."""
        ...

    async def find(self, client: Any, tag: str, created_after: float, total: int) -> list[str]:
        """Remote ids of what may be the batch submitted under `tag`."""
        ...

    async def state(self, client: Any, remote_id: str) -> BatchState:
        """Where a batch stands."""
        ...

    def results(self, client: Any, remote_id: str) -> AsyncIterator[BatchResult]:
        """All results of an ended batch, in any order."""
        ...

    async def cancel(self, client: Any, remote_id: str) -> None:
        """Ask for the end of a batch."""
        ...


class SdkProvider:
    """A provider but for `capabilities`, `body` and `read`, which a vendor's class adds, with what follows.

    `name`: as registered. `module`, `client_class`: of the SDK. `base_url`: the vendor's own. `key_env`: the usual
    variable of its key. `path`: of the chat endpoint. `batches`: its batch endpoint.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    client_class: ClassVar[str]
    base_url: ClassVar[str]
    key_env: ClassVar[str]
    path: ClassVar[str]
    batches: ClassVar[BatchCalls]

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._opened: Any = None

    def identity(self, model: str) -> str | None:
        """The base_url, unless it is the vendor's, and what the settings add to requests."""
        url = (self.settings.base_url or self.base_url).rstrip("/")
        return identity_with(None if url == self.base_url else url, self.settings)

    def problems(self, model: str) -> list[str]:
        """A key is needed."""
        return [] if find_key(self.settings, self.key_env) else [f"no API key: {self._mend()}"]

    def load(self, model: str) -> None:
        """Import the SDK, which takes a second or two."""
        self._sdk()

    async def send(self, body: Mapping[str, Any]) -> bytes:
        """One call through the SDK's client."""
        with sdk_errors(self._sdk()):
            raw: bytes = await self._client().post(
                self.path, cast_to=bytes, content=orjson.dumps(body), options=JSON_OPTIONS
            )
        return raw

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    async def submit_batch(self, lines: Sequence[BatchEntry], tag: str) -> str:
        """Start a batch; its remote id."""
        with sdk_errors(self._sdk()):
            return await self.batches.submit(self._client(), lines, tag)

    async def find_batches(self, tag: str, created_after: float, total: int) -> list[str]:
        """Remote ids of what may be the batch submitted under `tag`."""
        with sdk_errors(self._sdk()):
            return await self.batches.find(self._client(), tag, created_after, total)

    async def batch_state(self, remote_id: str) -> BatchState:
        """Where a batch stands."""
        with sdk_errors(self._sdk()):
            return await self.batches.state(self._client(), remote_id)

    async def batch_results(self, remote_id: str) -> AsyncIterator[BatchResult]:
        """All results of an ended batch, in no order."""
        with sdk_errors(self._sdk()):
            async for result in self.batches.results(self._client(), remote_id):
                yield result

    async def cancel_batch(self, remote_id: str) -> None:
        """Ask for the end of a batch."""
        with sdk_errors(self._sdk()):
            await self.batches.cancel(self._client(), remote_id)

    def _sdk(self) -> ModuleType:
        return importlib.import_module(self.module)

    def _client(self) -> Any:
        if self._opened is None:
            key = find_key(self.settings, self.key_env)
            if key is None:
                raise RunStoppedError("no_key", f"{self.name}/: no API key: {self._mend()}")
            sdk: Any = self._sdk()
            self._opened = getattr(sdk, self.client_class)(
                api_key=key,
                base_url=self.settings.base_url or self.base_url,
                max_retries=0,
                timeout=self.settings.timeout_s,
                # The key is for this server: where it sends on to, a person must say.
                http_client=sdk.DefaultAioHttpClient(follow_redirects=False),
            )
        return self._opened

    def _mend(self) -> str:
        return (
            f"set the environment variable {self.settings.api_key_env or self.key_env}, or name a file in api_key_file"
        )
