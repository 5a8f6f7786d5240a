"""One model's way to its provider: reserve, wait for a slot, send, try again, settle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import attrs

from sgforge.models.cache.answers import check, repair_request
from sgforge.models.cache.store import Store
from sgforge.models.errors import BudgetReachedError, ModelError, ProviderError, RunStoppedError
from sgforge.models.limits.circuit_breaker import Guard
from sgforge.models.limits.concurrency import Gate, Ticket
from sgforge.models.limits.retry import MAX_LOST, backoff_s, judge, reason_of
from sgforge.models.limits.trouble import Trouble
from sgforge.models.money.ledger import (
    CallKind,
    StoredAnswer,
    budget_nano,
    committed_nano,
    save_answer,
    save_fault,
)
from sgforge.models.money.prices import Price, cost_nano, input_bound, worst_case
from sgforge.models.money.reservations import Account, Reservation, Terms
from sgforge.models.money.sizes import Sizes
from sgforge.models.provider import Capabilities, Provider, Reply
from sgforge.models.settings import GatewaySettings
from sgforge.models.values import ChatRequest, Usage
from sgforge.models.wire.api_keys import holds_key, redact, redact_body
from sgforge.models.wire.dressing import schema_words
from sgforge.models.wire.failures import no_answer
from sgforge.models.wire.pictures import Fit, Pictures, Prepared

__all__ = ["Bought", "Caller"]


@attrs.frozen
class Bought:
    """A reply that has been paid for. `usage` is the worst case when the provider told none."""

    raw: bytes
    reply: Reply
    usage: Usage
    cost_nano: int | None
    notes: tuple[str, ...]


_Judge: TypeAlias = Callable[[Bought], StoredAnswer]


@attrs.define
class _Tries:
    """How far one request has come: tries made, tries that may have been billed for nothing, when it is given up.

    `needs_all_room`: with less than all of its max_tokens it was cut off.
    """

    made: int = 0
    lost: int = 0
    deadline: float | None = None
    needs_all_room: bool = False


@attrs.frozen
class _Sending:
    """One request as it is sent, the same in every try: `tokens` bound its input, `notes` say what became of images.

    `shortened` makes its body with less room for the answer, where the worst case does not fit into the budget.
    """

    body: Mapping[str, Any]
    tokens: int
    max_tokens: int
    notes: tuple[str, ...]
    shortened: Callable[[int], Mapping[str, Any]]
    is_shortened: bool = False

    def at_most(self, max_tokens: int) -> _Sending:
        """The same with less room for the answer."""
        return attrs.evolve(self, body=self.shortened(max_tokens), max_tokens=max_tokens, is_shortened=True)

    @property
    def most_tokens(self) -> int:
        """What the limit of tokens per minute counts until the true number is known."""
        return self.tokens + self.max_tokens


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
    trouble: Trouble
    settings: GatewaySettings
    chance: random.Random = attrs.field(factory=random.Random)
    sizes: Sizes = attrs.field(factory=Sizes, init=False)
    capabilities: Capabilities = attrs.field(init=False)
    _loading: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    @capabilities.default
    def _capabilities(self) -> Capabilities:
        return self.provider.capabilities(self.model)

    async def buy(
        self, key: bytes, request: ChatRequest, faulty: StoredAnswer | None, base: bytes = b""
    ) -> StoredAnswer:
        """The answer to a request, or with `faulty` the repair of that answer, with all retries; it is stored and paid
        when this returns, of use or not. Without any answer a `ModelError`. `base`: what it is also found under.

        Images, money and slot are each held by an `async with`: whichever way this is left, by an answer, an error or
        a caller that gives up, none of them stays taken.
        """
        asked = self.next_request(request, faulty)
        tokens = self.input_bound(asked)
        kind: CallKind = "answer" if faulty is None else "repair"
        terms = Terms(
            key=key, model=self.name, kind=kind, bound_nano=self.bound_nano(tokens, asked), prices=self.prices_version
        )
        async with self.pictures.prepare(asked.images, self.fit()) as prepared:
            await self._load()
            sending = _Sending(
                body=self.body(asked, prepared),
                tokens=tokens,
                max_tokens=asked.max_tokens,
                notes=prepared.notes,
                shortened=lambda most: self.body(attrs.evolve(asked, max_tokens=most), prepared),
            )
            async with Reservation(self.account, self.store, self.settings, terms) as money:
                return await self._try_until_done(
                    sending, money, lambda bought: self.judge(key, request, bought, faulty, base)
                )

    def next_request(self, request: ChatRequest, stored: StoredAnswer | None) -> ChatRequest:
        """What is to be sent next for a request: itself, or the repair of the faulty answer that is stored."""
        if stored is None or stored.outcome != "unrepaired":
            return request
        with_schema = self.provider.settings.schema_in_prompt is not False
        return repair_request(request, self.read(stored.raw), stored.detail, with_schema)

    def judge(
        self, key: bytes, request: ChatRequest, bought: Bought, faulty: StoredAnswer | None, base: bytes = b""
    ) -> StoredAnswer:
        """What is stored of a bought reply; costs of a repaired answer are those of both calls."""
        checked = check(request, bought.reply)
        repairs = faulty is None and request.schema is not None and self.settings.repair
        outcome = "unrepaired" if checked.outcome == "invalid" and repairs else checked.outcome
        usage, cost, notes = bought.usage, bought.cost_nano, bought.notes
        if faulty is not None:
            usage = usage + faulty.usage
            cost = None if cost is None or faulty.cost_nano is None else cost + faulty.cost_nano
        return StoredAnswer(
            key=key,
            model=self.name,
            outcome=outcome,
            raw=bought.raw,
            detail=checked.detail,
            usage=usage,
            cost_nano=cost,
            repaired=faulty is not None,
            notes=notes,
            base=base,
            max_tokens=request.max_tokens,
            checked=checked,
        )

    async def _try_until_done(self, sending: _Sending, money: Reservation, judge: _Judge) -> StoredAnswer:
        tries = _Tries()
        while True:
            self.guard.check()
            failure, changes = None, None
            try:
                # A retry goes first: its money is reserved and its item half done, while new ones can wait.
                async with self.gate.slot(sending.most_tokens, front=tries.made > 0) as ticket:
                    found = await self._reserve(sending, money, tries)
                    changes = found if isinstance(found, int) else None
                    if isinstance(found, _Sending):
                        answer = await self._try_once(found, money, judge, tries, ticket)
                        if answer is not None:
                            return answer
            except ProviderError as error:
                failure = error
            # Both waits are outside of the slot: a call that only waits must not keep others from being sent.
            if failure is not None:
                await self._wait_or_fail(failure, tries)
            elif changes is not None:
                await self.account.wait(changes)

    async def _try_once(
        self, sending: _Sending, money: Reservation, judge: _Judge, tries: _Tries, ticket: Ticket
    ) -> StoredAnswer | None:
        """The answer; None for one that was cut off for want of the room that its request would have given it."""
        try:
            bought = await self._send(sending, money, ticket)
        except ProviderError as error:
            tries.made += 1
            self._tell_gate(error, ticket)
            # Told to the ledger while the slot is held, so that no more is ever under way than the gate lets in.
            if error.maybe_billed:
                tries.lost += 1
                await money.lose(reason_of(error), save_fault(money.key, error))
            else:
                money.returned()
            raise
        return await self._settle(bought, judge, money, ticket, tries if sending.is_shortened else None)

    async def _load(self) -> None:
        """Let the provider get ready, once, without holding up the event loop or any timeout."""
        # One task for all calls, shielded: the one that began it may be given up while the others wait for it.
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
        # Where the schema stands in the text too, it is paid twice.
        again = schema_words(request.schema or {}) if self._schema_in_text(request) else ""
        return input_bound(request, image_tokens or 0) + len(again.encode())

    def _schema_in_text(self, request: ChatRequest) -> bool:
        return request.schema is not None and self.provider.settings.schema_in_prompt is True

    def _image_tokens(self) -> int | None:
        """The most tokens of one image; the price table knows them up to the provider's own limit of its size."""
        own, can = self.provider.settings, self.capabilities
        # The table bounds images of the size that is sent by default; a larger one can be billed for more.
        is_larger = can.max_image_side is not None and (own.max_image_side or 0) > can.max_image_side
        of_table = None if self.price is None or is_larger else self.price.image_tokens
        return own.image_tokens or of_table or can.image_tokens

    def bound_nano(self, tokens: int, request: ChatRequest, batch: bool = False) -> int | None:
        """The worst case of a request in nano-dollars; None without a price."""
        return None if self.price is None else worst_case(self.price, tokens, request.max_tokens, batch)

    def cost(self, usage: Usage, batch: bool = False) -> int | None:
        """What a usage costs; None without a price."""
        return None if self.price is None else cost_nano(self.price, usage, batch)

    async def _reserve(self, sending: _Sending, money: Reservation, tries: _Tries) -> _Sending | int:
        """Enter the call in the ledger, and say how it is sent: with less room for the answer where all of it does not
        fit into the budget. Without room for it: the account's changes so far, to wait for the next.

        Where nothing is under way whose true cost could make room, that is a `BudgetReachedError`, and the end of all.
        """
        self.guard.check()
        changes = self.account.changes
        try:
            await money.open()
        except BudgetReachedError as error:
            shorter = None if tries.needs_all_room else await self._reserve_less(sending, money)
            if shorter is None:
                if self.account.is_idle and self.account.changes == changes:
                    self.guard.budget_reached(error)
                    raise
                return changes
            sending = shorter
        # Asked once more: the run may have been stopped while the reservation was being written.
        self.guard.check()
        if tries.deadline is None:
            # From the first try on, not from when it was asked: waiting for a turn is no failure.
            tries.deadline = asyncio.get_running_loop().time() + self.provider.settings.deadline_s
        return sending

    async def _reserve_less(self, sending: _Sending, money: Reservation) -> _Sending | None:
        """Reserve what answers of this model have needed so far, or what is left if that is enough for a usual one."""
        enough, usual = self.sizes.enough, self.sizes.usual
        if enough is None or usual is None or self.price is None or self.settings.budget_usd is None:
            return None
        left = budget_nano(self.settings.budget_usd) - committed_nano(self.store)
        for most in (enough, self._affordable(sending.tokens, left) if self.account.is_idle else 0):
            if not usual <= most < sending.max_tokens:
                continue
            bound = worst_case(self.price, sending.tokens, most)
            if bound > left:
                continue
            with suppress(BudgetReachedError):
                await money.open(bound)
                return sending.at_most(most)
        return None

    def _affordable(self, tokens: int, nano: int) -> int:
        """Output tokens that so much money holds beside the input, roughly from below."""
        assert self.price is not None
        given = worst_case(self.price, tokens, 1)
        each = max(1, worst_case(self.price, tokens, 1001) - given) / 1000
        return 1 + int((nano - given) / each) if nano >= given else 0

    async def _send(self, sending: _Sending, money: Reservation, ticket: Ticket) -> Bought:
        try:
            async with asyncio.timeout(self.provider.settings.timeout_s):
                # Both before the wait: whatever ends it from here on, the server may have the request.
                self.gate.sending(ticket)
                money.sending()
                raw = await self.provider.send(sending.body)
        except TimeoutError:
            raise ProviderError(
                f"no answer within {self.provider.settings.timeout_s:g} s", maybe_billed=True, reason="timeout"
            ) from None
        except ModelError:
            # What a provider finds missing (its key, its weights) before it sends anything.
            money.returned()
            raise
        raw = redact_body(raw)
        reply = self.read(raw)
        # Without a count it is taken as the most it can be: a budget must hold against what is not known.
        usage = reply.usage or Usage(input=sending.tokens, output=sending.max_tokens)
        return Bought(raw=raw, reply=reply, usage=usage, cost_nano=self.cost(usage), notes=sending.notes)

    def read(self, raw: bytes) -> Reply:
        """What a body says; a `ProviderError` for one that a later try may mend.

        One that nobody can read is an answer with a fault: it was paid for, and asking again would bring another.
        """
        try:
            reply = self.provider.read(raw)
        except ValueError as error:
            failure = no_answer(raw)
            if failure is not None:
                raise failure from error
            return Reply("", "stop", None, fault=redact(f"not an answer: {error}"))
        # A key in pieces is no key in the body, but one in the text that is put together of them.
        if holds_key(reply.text) or holds_key(reply.refusal):
            return attrs.evolve(reply, text=redact(reply.text), refusal=redact(reply.refusal))
        return reply

    async def _settle(
        self, bought: Bought, judge: _Judge, money: Reservation, ticket: Ticket, shortened: _Tries | None
    ) -> StoredAnswer | None:
        """Commit answer and cost together; the slot is still held. Of a `shortened` try that was cut off only the cost
        and the body are kept."""
        answer = judge(bought)
        seconds = asyncio.get_running_loop().time() - ticket.sent_at
        # Before the wait for the disk: the answer is here, whether or not somebody is left who waits for it.
        self.guard.answered(self.name)
        self.gate.succeeded()
        self.gate.spent(ticket, bought.usage.total)
        if shortened is not None and bought.reply.finish == "length" and answer.outcome != "ok":
            shortened.needs_all_room = True
            cut = save_fault(answer.key, ProviderError("cut off where the budget left less room", body=bought.raw))
            await money.settle("shortened", bought.usage, bought.cost_nano, seconds, cut)
            return None
        if bought.reply.usage is not None and bought.reply.finish == "stop":
            self.sizes.seen(bought.usage.output)
        await money.settle(
            answer.outcome, bought.usage, bought.cost_nano, seconds, lambda connection: save_answer(connection, answer)
        )
        return answer

    def _tell_gate(self, error: ProviderError, ticket: Ticket) -> None:
        """What a failed try says about the server's limits."""
        # A 429 of an account without money is one too, but says nothing about rates: no waiting mends it.
        if error.status == 429 and error.blame is None:
            self.gate.throttled(ticket, error.retry_after)
        elif error.status is None or error.status >= 500:
            self.gate.struggled()
        if not error.maybe_billed:
            self.gate.spent(ticket, 0)

    async def _wait_or_fail(self, error: ProviderError, tries: _Tries) -> None:
        """Sleep before the next try, or end the item; the next try itself asks whether calls may still begin."""
        now = asyncio.get_running_loop().time()
        self.trouble.failed(self.name, error, now)
        assert tries.deadline is not None, "it began with the first try"
        verdict = judge(error)
        if verdict == "refused":
            self.guard.refused(self.name, error)
        elif error.status is None and not error.maybe_billed and not error.concerns_item:
            # A time-out or a reset did reach something: only calls that no server took say that there is none.
            self.guard.unreached(self.name, error, now)
        # A wait that ends after the deadline is not begun: it would only keep the item from failing now.
        delay = backoff_s(tries.made - 1, error.retry_after, self.chance)
        if verdict == "retry" and tries.lost < MAX_LOST and now + delay <= tries.deadline:
            await self.guard.sleep(delay)
            return
        ending = self.guard.ending()
        if ending is not None and ending.stops_run:
            raise ending
        # A person's stop is no reason for this failure: it was asked and it failed, so that is what is told.
        after = f" after {tries.made} tries" if tries.made > 1 else ""
        raise ModelError(reason_of(error), f"{self.name}: {redact(str(error))}{after}") from None
