"""One model's way to its provider: reserve, wait for a slot, send, try again, settle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from sgforge.models.account import Account
from sgforge.models.errors import BudgetReachedError, ModelError, ProviderError, RunStoppedError, StoreError
from sgforge.models.failures import message_of
from sgforge.models.gate import Gate, Ticket
from sgforge.models.guard import Guard
from sgforge.models.keychain import redact
from sgforge.models.ledger import CallKind, close_call, lose_call, open_call, void_call
from sgforge.models.pictures import Fit, Pictures, Prepared
from sgforge.models.prices import Price, cost_nano, input_bound, worst_case
from sgforge.models.provider import Capabilities, Provider, Reply
from sgforge.models.retry import MAX_LOST, backoff_s, judge, reason_of
from sgforge.models.settings import GatewaySettings
from sgforge.models.store import Store
from sgforge.models.values import ChatRequest, Usage

__all__ = ["Bought", "Caller", "Settle"]

_TOLD: Final = 80
"""Characters of a body that is no answer, in the message about it."""


@attrs.frozen
class Bought:
    """A reply that has been paid for. `usage` is the worst case when the provider told none."""

    raw: bytes
    reply: Reply
    usage: Usage
    cost_nano: int | None
    notes: tuple[str, ...]


Settle: TypeAlias = Callable[[Bought], tuple[str, Callable[[Any], None]]]
"""Judges a bought reply: its outcome for the ledger, and the write that stores it in the same transaction."""


@attrs.define
class _Try:
    """Where one request stands between its tries: the ledger row it holds open, tries made, tries lost."""

    call: int | None = None
    attempt: int = 0
    lost: int = 0
    deadline: float | None = None


@attrs.define(eq=False)
class Caller:
    """Buys replies of one model; the gateway decides what to buy."""

    name: str
    model: str
    provider: Provider
    price: Price | None
    prices_version: str
    gate: Gate
    store: Store
    pictures: Pictures
    guard: Guard
    account: Account
    settings: GatewaySettings
    chance: random.Random = attrs.field(factory=random.Random)
    capabilities: Capabilities = attrs.field(init=False)
    _loading: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    @capabilities.default
    def _capabilities(self) -> Capabilities:
        return self.provider.capabilities(self.model)

    async def buy(self, key: bytes, request: ChatRequest, kind: CallKind, settle: Settle) -> Bought:
        """One reply, with all retries; it is on disk and settled when this returns. Else a `ModelError`."""
        tokens = self.input_bound(request)
        bound = self.bound_nano(tokens, request)
        fit = self.fit()
        state = _Try()
        async with self.pictures.prepare(request.images, fit) as prepared:
            await self._load()
            body = self.body(request, prepared)
            while True:
                ticket = await self._enter(key, kind, bound, tokens + request.max_tokens, state)
                try:
                    bought = await self._send(body, tokens, request, prepared.notes, ticket)
                    await self._settle(bought, settle, state, ticket)
                    return bought
                except ProviderError as error:
                    failure = error
                    await self._note_failure(failure, state, ticket)
                except StoreError:
                    # The call stays open in the ledger, at its worst case: it may have been billed.
                    if state.call is not None:
                        self.account.closed(state.call)
                    raise
                except ModelError as error:
                    await self._void(state, error.reason)
                    raise
                except Exception as error:
                    await self._lose(state, type(error).__name__)
                    raise
                finally:
                    self.gate.release(ticket)
                await self._wait_or_fail(failure, state)

    async def _load(self) -> None:
        """Let the provider get ready, once, without holding up the event loop or any timeout."""
        if self._loading is None:
            self.guard.check()
            self._loading = asyncio.create_task(asyncio.to_thread(self.provider.load, self.model))
        if not self._loading.done():
            await asyncio.shield(self._loading)
        self._loading.result()

    def body(self, request: ChatRequest, prepared: Prepared) -> Mapping[str, Any]:
        """What is sent for a request; one that the provider's wire cannot express is a `ModelError`."""
        try:
            return self.provider.body(self.model, request, prepared.encode)
        except ValueError as error:
            raise ModelError("unsupported", f"{self.name}: {error}") from error

    def fit(self) -> Fit:
        """The image limits in force: the settings', else the provider's."""
        own, can = self.provider.settings, self.capabilities
        return Fit(own.max_image_side or can.max_image_side, own.max_image_bytes or can.max_image_bytes)

    def input_bound(self, request: ChatRequest) -> int:
        """The most input tokens a request can have; without a known bound for its images, a budget cannot hold."""
        image_tokens = self._image_tokens()
        limited = self.settings.budget_usd is not None and self.price is not None and self.price.input > 0
        if image_tokens is None and request.images and limited:
            raise RunStoppedError(
                "no_image_price",
                f"budget_usd is set and it is not known how many tokens {self.name} bills for an image of the size "
                f'that is sent: give image_tokens in [models."{self.name}"]',
            )
        return input_bound(request, image_tokens or 0)

    def _image_tokens(self) -> int | None:
        """The most tokens of one image; the price table knows them up to the provider's own limit of its size."""
        own, can = self.provider.settings, self.capabilities
        is_larger = can.max_image_side is not None and (own.max_image_side or 0) > can.max_image_side
        of_table = None if self.price is None or is_larger else self.price.image_tokens
        return own.image_tokens or of_table or can.image_tokens

    def bound_nano(self, tokens: int, request: ChatRequest, batch: bool = False) -> int | None:
        """The worst case of a request in nano-dollars; None without a price."""
        return None if self.price is None else worst_case(self.price, tokens, request.max_tokens, batch)

    def cost(self, usage: Usage, batch: bool = False) -> int | None:
        """What a usage costs; None without a price."""
        return None if self.price is None else cost_nano(self.price, usage, batch)

    async def _enter(self, key: bytes, kind: CallKind, bound: int | None, tokens: int, state: _Try) -> Ticket:
        """A slot, with the call entered in the ledger; while the budget has no room, wait without a slot."""
        while True:
            self.guard.check()
            ticket = await self.gate.acquire(tokens, front=state.attempt > 0)
            try:
                self.guard.check()
                if state.call is None:
                    self.store.check_room()
                    operation = open_call(key, self.name, kind, bound, self.settings.budget_usd, self.prices_version)
                    state.call = await self.store.write(operation)
                    self.account.opened(state.call, bound or 0)
            except BudgetReachedError:
                self._hand_back(ticket)
                if self.account.is_idle:
                    raise
                await self.account.wait()
            except BaseException:
                self._hand_back(ticket)
                raise
            else:
                if state.deadline is None:
                    state.deadline = asyncio.get_running_loop().time() + self.provider.settings.deadline_s
                return ticket

    def _hand_back(self, ticket: Ticket) -> None:
        """A slot that was not used."""
        self.gate.spent(ticket, 0)
        self.gate.release(ticket)

    async def _send(
        self, body: Mapping[str, Any], tokens: int, request: ChatRequest, notes: tuple[str, ...], ticket: Ticket
    ) -> Bought:
        try:
            async with asyncio.timeout(self.provider.settings.timeout_s):
                self.gate.sending(ticket)
                raw = await self.provider.send(body)
        except TimeoutError:
            raise ProviderError(
                f"no answer within {self.provider.settings.timeout_s:g} s", maybe_billed=True, reason="timeout"
            ) from None
        try:
            reply = self.provider.read(raw)
        except ValueError as error:
            told = f"not an answer ({error}): {message_of(raw)[:_TOLD]}"
            raise ProviderError(told, maybe_billed=True, reason="malformed") from error
        usage = reply.usage if reply.usage is not None else Usage(input=tokens, output=request.max_tokens)
        return Bought(raw, reply, usage, self.cost(usage), notes)

    async def _settle(self, bought: Bought, settle: Settle, state: _Try, ticket: Ticket) -> None:
        """Commit answer and cost together; the slot is still held."""
        outcome, save = settle(bought)
        seconds = asyncio.get_running_loop().time() - ticket.sent_at
        call = state.call
        assert call is not None

        def operation(connection: Any) -> None:
            close_call(connection, call, outcome, bought.usage, bought.cost_nano, seconds)
            save(connection)

        await self.store.write(operation)
        self.account.closed(call)
        state.call = None
        self.guard.answered(self.name)
        self.gate.succeeded()
        self.gate.spent(ticket, bought.usage.total)

    async def _note_failure(self, error: ProviderError, state: _Try, ticket: Ticket) -> None:
        """Tell the gate and the ledger; a call that was surely not billed keeps its reservation for the next try."""
        state.attempt += 1
        if error.status == 429 and error.blame is None:
            self.gate.throttled(ticket, error.retry_after)
        elif error.status is None or error.status >= 500:
            self.gate.struggled()
        if error.maybe_billed:
            state.lost += 1
            await self._lose(state, reason_of(error))
        else:
            self.gate.spent(ticket, 0)

    async def _wait_or_fail(self, error: ProviderError, state: _Try) -> None:
        """Sleep before the next try, or end the item."""
        now = asyncio.get_running_loop().time()
        assert state.deadline is not None, "it began with the first try"
        verdict = judge(error)
        if verdict == "refused":
            self.guard.refused(self.name, error)
        elif error.status is None and not error.maybe_billed:
            self.guard.unreached(self.name, error, now)
        delay = backoff_s(state.attempt - 1, error.retry_after, self.chance)
        if verdict == "retry" and state.lost < MAX_LOST and now + delay <= state.deadline:
            try:
                await self.guard.sleep(delay)
            except asyncio.CancelledError:
                await self._void(state, "cancelled")
                raise
            if not self.guard.is_ended:
                return
        await self._void(state, reason_of(error))
        self.guard.check()
        tries = f" after {state.attempt} tries" if state.attempt > 1 else ""
        raise ModelError(reason_of(error), f"{self.name}: {redact(str(error))}{tries}") from None

    async def _lose(self, state: _Try, reason: str) -> None:
        """A call that may have been billed: it stays in the ledger at its worst case."""
        if state.call is not None:
            call, state.call = state.call, None
            try:
                await self.store.write(lose_call(call, reason))
            finally:
                self.account.closed(call)

    async def _void(self, state: _Try, reason: str) -> None:
        """Give back the reservation of a call that was not billed."""
        if state.call is not None:
            call, state.call = state.call, None
            try:
                await self.store.write(void_call(call, reason))
            finally:
                self.account.closed(call)
