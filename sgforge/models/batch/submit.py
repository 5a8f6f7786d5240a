"""Runs that only submit: requests the cache cannot answer are gathered and handed to the vendor's batch endpoint."""

from __future__ import annotations

import asyncio
import secrets

import attrs
import orjson

from sgforge.models.batch.desk import BatchDesk
from sgforge.models.batch.rows import Item, Terms, enter_batch
from sgforge.models.batch.spool import Spool, spool_folder
from sgforge.models.cache.request_key import call_id
from sgforge.models.errors import DeferredError, ModelError
from sgforge.models.gateway import BoundModel, Gateway
from sgforge.models.provider import BatchProvider
from sgforge.models.values import ChatRequest
from sgforge.text.wording import counted

__all__ = ["Spooler", "Submitted"]


@attrs.frozen
class Submitted:
    """One batch that was handed over."""

    tag: str
    model: str
    requests: int
    bytes: int


class Spooler:
    """A watcher that writes misses into spools, and submits each spool when it is full or the gateway closes.

    Models without a batch endpoint are asked as always.
    """

    def __init__(self) -> None:
        self.submitted: list[Submitted] = []
        self._spools: dict[str, Spool] = {}
        self._spooled: set[bytes] = set()
        self._submitting: set[asyncio.Future[None]] = set()
        self._lock = asyncio.Lock()

    async def miss(self, model: BoundModel, key: bytes, request: ChatRequest) -> None:
        """Put the request into a batch, and raise `DeferredError` in place of an answer."""
        provider = model.caller.provider
        if not model.capabilities.batch or not isinstance(provider, BatchProvider):
            return
        if key not in self._spooled:
            # Before the wait, so that an equal request asked meanwhile is not written twice.
            self._spooled.add(key)
            try:
                await self._spool(model, provider, key, request)
            except BaseException:
                # Refused or given up: it is in no spool, and nobody may be told that it waits for its batch.
                self._spooled.discard(key)
                raise
        raise DeferredError(f"{model.name} call {call_id(key)} goes into a batch: sgforge batch collect")

    async def close(self, gateway: Gateway) -> None:
        """Submit what is left."""
        async with self._lock:
            for name in list(self._spools):
                await self._submit(gateway.bind(name))
            # Begun by requests whose component has given up since; what became of them is told here.
            await asyncio.gather(*self._submitting)

    async def _spool(self, model: BoundModel, provider: BatchProvider, key: bytes, request: ChatRequest) -> None:
        caller = model.caller
        async with caller.pictures.prepare(request.images, caller.fit()) as prepared:
            body, notes = orjson.dumps(caller.body(request, prepared)), prepared.notes
        tokens = caller.input_bound(request)
        base = (await model.named(request)).base
        item = Item(key, Terms.of(request, tokens, notes, base), caller.bound_nano(tokens, request, batch=True))
        async with self._lock:
            await self._add(model, provider, item, body)

    async def _add(self, model: BoundModel, provider: BatchProvider, item: Item, body: bytes) -> None:
        if len(body) > provider.max_batch_bytes:
            raise ModelError(
                "too_large", f"{model.name}: one request of {counted(len(body), 'byte')} is larger than a batch may be"
            )
        spool = self._spools.get(model.name)
        if spool is not None and not spool.takes(len(body)):
            await self._submit(model)
            spool = None
        if spool is None:
            folder = spool_folder(model.gateway.store.path)
            limits = (provider.max_batch_requests, provider.max_batch_bytes)
            spool = self._spools[model.name] = Spool(folder, f"sgforge-{secrets.token_hex(8)}", *limits)
        spool.add(item, body)

    async def _submit(self, model: BoundModel) -> None:
        """Submit a model's spool, whatever becomes of the request that made it full: it holds those of others too."""
        task = asyncio.ensure_future(self._hand_over(model, self._spools.pop(model.name)))
        self._submitting.add(task)
        try:
            await asyncio.shield(task)
        finally:
            if task.done():
                self._submitting.discard(task)

    async def _hand_over(self, model: BoundModel, spool: Spool) -> None:
        """Intent first, then the vendor, then its id; the spool stays until the id is known."""
        spool.seal()
        gateway = model.gateway
        try:
            batch = await gateway.store.write(
                enter_batch(
                    *(spool.tag, model.name, spool.path.name, spool.bytes, spool.items),
                    *(gateway.settings.budget_usd, gateway.prices.version),
                )
            )
        except BaseException:
            spool.discard()
            raise
        spool.release()
        gateway.waiting.update(item.key for item in spool.items)
        await BatchDesk(gateway).send(batch, model, spool.tag, spool.path)
        self.submitted.append(Submitted(spool.tag, model.name, len(spool.items), spool.bytes))
