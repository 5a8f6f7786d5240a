"""The order of work for every request: cache, single flight, the bought call, validation and repair, commit."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

import attrs

from sgforge.errors import ConfigError
from sgforge.models.cache.answers import USABLE, Checked, check, check_schema, choice_probabilities
from sgforge.models.cache.request_key import RequestName, call_id, request_name
from sgforge.models.cache.single_flight import SingleFlight
from sgforge.models.cache.store import Store
from sgforge.models.errors import NOT_ASKED, DeferredError, ModelError, NotSentError, ProviderError
from sgforge.models.limits.circuit_breaker import Guard
from sgforge.models.limits.concurrency import Gate
from sgforge.models.limits.trouble import Tell, Trouble
from sgforge.models.money.call_trace import Observed, note_call, note_exchange, note_not_sent, note_observed
from sgforge.models.money.ledger import (
    Spending,
    StoredAnswer,
    committed_nano,
    find_answer,
    find_at_other_limit,
    find_faulty,
    save_answer,
    spending,
)
from sgforge.models.money.prices import Price, PriceTable, usd
from sgforge.models.money.reservations import Account
from sgforge.models.provider import Capabilities, Provider, ResolveProvider
from sgforge.models.purchase import Caller
from sgforge.models.settings import GatewaySettings, ModelSettings
from sgforge.models.values import ChatRequest, ChatResponse, Usage
from sgforge.models.wire.pictures import Pictures

__all__ = ["BoundModel", "Gateway", "Watcher"]

_MEGABYTE = 1_000_000
_FREE = Price(0.0, 0.0)


class Watcher(Protocol):
    """Stands before every call that would be bought: raises in its place (`DeferredError`), or lets it be bought."""

    async def miss(self, model: BoundModel, key: bytes, request: ChatRequest) -> None:
        """A request without a usable answer in the cache; `request` is what would be sent, a repair included."""
        ...

    async def close(self, gateway: Gateway) -> None:
        """The gateway is about to close; its providers still work."""
        ...


class Gateway:
    """All models of a run over one responses file. Open it in the event loop that uses it."""

    def __init__(
        self,
        store: Store,
        settings: GatewaySettings,
        resolve_provider: ResolveProvider,
        watcher: Watcher | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.prices = PriceTable.load(settings.prices)
        self.watcher = watcher
        # Keys only, read once: whether a request waits in a batch is asked before every call.
        self.waiting = {row[0] for row in store.read("SELECT key FROM batch_item")}
        self._resolve = resolve_provider
        self._bound: dict[str, BoundModel] = {}
        self._pictures = Pictures(int(settings.max_image_mb * _MEGABYTE))
        self._guard = Guard(settings.stop_after_refusals, self._end_waiting)
        self._account = Account()
        self._trouble = Trouble(tell)

    @classmethod
    def open(
        cls,
        path: Path | str,
        settings: GatewaySettings = GatewaySettings(),
        resolve_provider: ResolveProvider | None = None,
        watcher: Watcher | None = None,
        tell: Tell | None = None,
    ) -> Gateway:
        """A gateway over `path`, which is made if it is not there. `watcher` turns misses into something else; `tell`
        hears, a line now and then, of tries that fail again and again."""
        return cls.over(Store(Path(path)), settings, resolve_provider, watcher, tell)

    @classmethod
    def over(
        cls,
        store: Store,
        settings: GatewaySettings = GatewaySettings(),
        resolve_provider: ResolveProvider | None = None,
        watcher: Watcher | None = None,
        tell: Tell | None = None,
    ) -> Gateway:
        """A gateway over an open store, which it closes; with a `ReadStore` the watcher must keep all from being
        bought."""
        try:
            return cls(store, settings, resolve_provider or _no_provider, watcher, tell)
        except BaseException:
            store.close()
            raise

    def bind(self, name: str, settings: ModelSettings = ModelSettings()) -> BoundModel:
        """The model "provider/model" with its settings; the same object for the same name.

        With a budget, a model without a price is a `ConfigError`, here and before anything is sent.
        """
        if name in self._bound:
            return self._bound[name]
        provider_name, slash, model = name.partition("/")
        if not slash or not model:
            raise ConfigError(f"model {name!r} must read provider/model, such as openai/gpt-6.2-sol")
        provider = self._resolve(provider_name, settings)
        capabilities = provider.capabilities(model)
        self._decide_schema(name, provider, capabilities)
        # Here and not at the first call: a budget that cannot hold is told before any work is done.
        price = self.prices.needed(name, settings, self.settings.budget_usd) if capabilities.paid else _FREE
        gate = _gate(provider.settings, capabilities.slots)
        caller = Caller(
            name=name,
            model=model,
            provider=provider,
            price=price,
            prices_version=self.prices.version,
            gate=gate,
            store=self.store,
            pictures=self._pictures,
            guard=self._guard,
            account=self._account,
            trouble=self._trouble,
            settings=self.settings,
        )
        self._bound[name] = BoundModel(self, caller)
        return self._bound[name]

    def _decide_schema(self, name: str, provider: Provider, can: Capabilities) -> None:
        """What `schema_in_prompt = "auto"` means for a model: decided once, and the same in every run over the file."""
        if provider.settings.schema_in_prompt != "auto":
            return
        entry = f"schema_in_prompt {name}"
        stored = self.store.read("SELECT value FROM meta WHERE name = ?", (entry,))
        decided = stored[0][0] == "true" if stored else not can.enforces_schema
        if not stored and decided:
            self.store.remember(entry, "true")
        # Where servers enforce schemas nothing changes, so "auto" may stay: a repair has the schema in words.
        if decided:
            provider.settings = attrs.evolve(provider.settings, schema_in_prompt=True)

    def problems(self) -> list[str]:
        """What is missing before the bound models can be called, each with its mend; nothing is sent."""
        return [
            f"{name}: {problem}"
            for name, bound in self._bound.items()
            for problem in bound.caller.provider.problems(bound.caller.model)
        ]

    def spending(self) -> list[Spending]:
        """The whole ledger by model, earlier runs included."""
        return spending(self.store)

    def spent_usd(self) -> float:
        """What everything in the file has cost so far, calls under way here left out; a look at one row."""
        # The file counts what is under way at its worst case, which would make a display jump up and down.
        return usd(committed_nano(self.store) - self._account.open_nano)

    def stop_sending(self) -> None:
        """Send nothing more, for good: what waits here for a slot, a rate, money or its next try ends now as a
        `NotSentError`; what is on the wire is awaited and kept, and the cache answers as before."""
        self._guard.halt()

    async def drained(self) -> None:
        """Until no request is under way here any more; with `stop_sending` before it, that is what is on the wire."""
        while flying := [future for bound in self._bound.values() for future in bound.under_way]:
            await asyncio.wait(flying)

    def _end_waiting(self) -> None:
        # Otherwise calls behind a slow rate limit would learn one by one, each when its turn comes, that it is over.
        for bound in self._bound.values():
            bound.caller.gate.close(self._ended_by)
        self._account.wake()

    def _ended_by(self) -> ModelError:
        ending = self._guard.ending()
        assert ending is not None, "the gates are closed by its end"
        return ending

    async def close(self) -> None:
        """Close the watcher, the providers and the file, each of them even if one fails to."""
        # Closed in reverse: a watcher may still submit over the providers, and both may still write to the file.
        async with AsyncExitStack() as closing:
            closing.callback(self.store.close)
            for bound in self._bound.values():
                closing.push_async_callback(bound.caller.provider.close)
            if self.watcher is not None:
                closing.push_async_callback(self.watcher.close, self)

    async def __aenter__(self) -> Gateway:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _gate(own: ModelSettings, slots: int | None) -> Gate:
    """The gate of a model: a server's limit is found out, a model in process has its slots at once."""
    # In process there is no server that could object, so growing to a limit would only leave a device idle.
    if slots is not None:
        return Gate(slots, own.requests_per_minute, own.tokens_per_minute, slots)
    return Gate(own.max_in_flight, own.requests_per_minute, own.tokens_per_minute)


@attrs.define(eq=False)
class BoundModel:
    """One model of a gateway: what a component holds."""

    gateway: Gateway = attrs.field(repr=False)
    caller: Caller = attrs.field(repr=False)
    _identity: asyncio.Task[str | None] | None = attrs.field(default=None, init=False, repr=False)
    _flights: SingleFlight[StoredAnswer] = attrs.field(factory=SingleFlight, init=False, repr=False)
    # What was bought by this run, of use or not: another step that asks the same does not buy it once more.
    _failed_here: set[bytes] = attrs.field(factory=set, init=False, repr=False)
    _asked_here: set[bytes] = attrs.field(factory=set, init=False, repr=False)

    @property
    def name(self) -> str:
        """The model as "provider/model"."""
        return self.caller.name

    @property
    def max_in_flight(self) -> int:
        """The most calls that will ever run at one time."""
        return self.caller.gate.max_in_flight

    @property
    def capabilities(self) -> Capabilities:
        """What the provider can do, within the limits of the settings."""
        can, side = self.caller.capabilities, self.caller.provider.settings.max_image_side
        return can if side is None else attrs.evolve(can, max_image_side=side)

    @property
    def under_way(self) -> list[asyncio.Future[StoredAnswer]]:
        """The requests that are being bought."""
        return self._flights.flying

    async def key(self, request: ChatRequest) -> bytes:
        """The name of a request's answer, 32 bytes."""
        return (await self.named(request)).key

    async def named(self, request: ChatRequest) -> RequestName:
        """A request with all that names its answer."""
        if self._identity is None:
            self._identity = asyncio.create_task(asyncio.to_thread(self.caller.provider.identity, self.caller.model))
        # One look for all, which may hash weights for minutes: the first to ask may give up, the others still wait.
        if not self._identity.done():
            await asyncio.shield(self._identity)
        return request_name(self.name, self._identity.result(), request, self.caller.fit())

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """The answer to a request, from the cache or bought now; a `ModelError` says why there is none."""
        try:
            response = await self._complete(request)
        except ModelError as error:
            note_exchange(self.name, request, error)
            raise
        note_exchange(self.name, request, response)
        return response

    async def _complete(self, request: ChatRequest) -> ChatResponse:
        self._refuse_unsupported(request)
        name = await self.named(request)
        key = name.key
        # The cache before everything else: it answers also after a stop, without a key, beyond the budget.
        stored = await self._look_up(name, key, request)
        if stored is not None and not self._to_be_bought(stored):
            return self._response(stored, request, cached=True, seconds=0.0)
        question = await self._question(request, key)
        if request.spare and (question is None or question in self._asked_here):
            raise ModelError(NOT_ASKED, f"{self.name} call {call_id(key)}: --retry-failed asks it, once a run")
        if key in self.gateway.waiting:
            raise DeferredError(f"{self.name} call {call_id(key)} waits in a batch: sgforge batch collect")
        if self.gateway.watcher is not None:
            await self.gateway.watcher.miss(self, key, self.caller.next_request(request, stored))
        started = asyncio.get_running_loop().time()
        try:
            bought, shared = await self._flights.run(key, lambda: self._buy(name, request, stored))
        except NotSentError as error:
            # Here and not where it is raised: who followed another's request has a block of its own to tell.
            note_not_sent(error)
            raise
        if question is not None:
            self._asked_here.add(question)
        if bought.outcome != "ok":
            self._failed_here.add(key)
        return self._response(bought, request, shared, asyncio.get_running_loop().time() - started)

    async def _question(self, request: ChatRequest, key: bytes) -> bytes | None:
        """What all samples of a question share; None in a run that asks nothing again."""
        if not self.gateway.settings.retry_failed:
            return None
        return key if request.ordinal == 0 else await self.key(attrs.evolve(request, ordinal=0))

    async def _look_up(self, name: RequestName, key: bytes, request: ChatRequest) -> StoredAnswer | None:
        """What is stored for a request, read: its own answer, or one with other room that was not cut off."""
        stored = find_answer(self.gateway.store, key)
        if stored is None or stored.outcome != "ok":
            # What was cut off here may have had more room before, and what was cut off there has more now.
            stored = find_at_other_limit(self.gateway.store, name) or stored
        settings = self.gateway.settings
        if stored is not None and stored.outcome in USABLE:
            return self._read(stored, request)
        if settings.reread or settings.retry_failed:
            return await self._reread(key, request, stored) or stored
        return stored

    def _read(self, stored: StoredAnswer, request: ChatRequest) -> StoredAnswer:
        """A stored answer with what it says; one in which nothing of use is found any more is "invalid"."""
        reply = self.caller.read(stored.raw)
        checked = check(request, reply, is_known=True)
        if checked.outcome not in USABLE:
            return attrs.evolve(stored, outcome="invalid", detail=checked.detail)
        return attrs.evolve(stored, checked=checked)

    async def _reread(self, key: bytes, request: ChatRequest, stored: StoredAnswer | None) -> StoredAnswer | None:
        """The first stored body of a request in which something of use is found today; it is stored as its answer."""
        bodies = ([stored.raw] if stored is not None else []) + find_faulty(self.gateway.store, key)
        for raw in bodies:
            try:
                reply = self.caller.read(raw)
            except ProviderError:
                continue
            checked = check(request, reply)
            if checked.outcome in USABLE:
                found = self._found(key, stored, raw, checked)
                await self.gateway.store.write(lambda connection: save_answer(connection, found))  # noqa: B023
                return found
        return None

    def _found(self, key: bytes, stored: StoredAnswer | None, raw: bytes, checked: Checked) -> StoredAnswer:
        # What was lost on its way has no cost of its own: it stands in the ledger at its worst case.
        usage = checked.reply.usage if checked.reply is not None else None
        blank = StoredAnswer(
            key=key,
            model=self.name,
            outcome="ok",
            raw=raw,
            detail="",
            usage=usage or Usage(),
            cost_nano=None,
            repaired=False,
        )
        return attrs.evolve(stored or blank, outcome=checked.outcome, raw=raw, detail=checked.detail, checked=checked)

    def _refuse_unsupported(self, request: ChatRequest) -> None:
        """Refuse what the provider cannot do, before anything is paid."""
        given = {field for field in ("temperature", "top_p", "seed", "effort") if getattr(request, field) is not None}
        unknown = sorted((given | ({"stop"} if request.stop else set())) - self.capabilities.sampling)
        if unknown:
            raise ModelError("unsupported", f"{self.name} does not take {', '.join(unknown)}: leave it out")
        if request.images and not self.capabilities.images:
            raise ModelError("no_vision", f"{self.name} does not take images")
        check_schema(request)

    def _to_be_bought(self, stored: StoredAnswer) -> bool:
        # The first half of an answer that was to be repaired: a run without repairs takes it for a failure.
        if stored.outcome == "unrepaired":
            return self.gateway.settings.repair
        retries = self.gateway.settings.retry_failed and stored.key not in self._failed_here
        return stored.outcome != "ok" and retries

    async def _buy(self, name: RequestName, request: ChatRequest, stored: StoredAnswer | None) -> StoredAnswer:
        """Buy the answer, and its repair if it breaks the schema."""
        # Each call is stored before the next is made, so that whoever is stopped in between goes on with the repair.
        if stored is None or stored.outcome != "unrepaired":
            stored = await self.caller.buy(name.key, request, None, name.base)
        if stored.outcome == "unrepaired":
            stored = await self.caller.buy(name.key, request, stored, name.base)
        return stored

    def _response(self, stored: StoredAnswer, request: ChatRequest, cached: bool, seconds: float) -> ChatResponse:
        """A stored answer as the component sees it; one that is not usable is raised as such."""
        name = call_id(stored.key)
        cost_usd = None if stored.cost_nano is None else usd(stored.cost_nano)
        # Noted also for answers that are of no use: they were paid for, and an estimate is of what is paid.
        note_observed(Observed(model=self.name, cached=cached, usage=stored.usage, cost_usd=cost_usd, seconds=seconds))
        checked = stored.checked
        reply = None if checked is None else checked.reply
        if stored.outcome not in USABLE or reply is None or checked is None:
            reason = "invalid" if stored.outcome == "unrepaired" else stored.outcome
            again = " (answered before; --retry-failed asks again)" if cached else ""
            raise ModelError(reason, f"{self.name} call {name}: {stored.detail}{again}")
        note_call(name)
        return ChatResponse(
            text=reply.text,
            parsed=checked.parsed,
            call_id=name,
            usage=stored.usage,
            cost_usd=cost_usd,
            cached=cached,
            model=reply.model,
            repaired=stored.repaired,
            probabilities=choice_probabilities(request.choices, reply.tokens),
            notes=stored.notes,
            mended=checked.mended,
            dropped=checked.dropped,
            truncated=stored.outcome == "partial",
            remark=reply.remark,
        )


def _no_provider(name: str, settings: ModelSettings) -> Provider:
    raise ConfigError(f"there is no model provider {name!r}: this gateway was opened without any")
