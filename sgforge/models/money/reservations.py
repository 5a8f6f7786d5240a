"""What the calls under way in this process may cost: the budget's open reservations, each an object with one end."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import attrs

from sgforge.group_commit import Operation
from sgforge.models.cache.store import Store
from sgforge.models.errors import BudgetReachedError, ModelError, StoreError
from sgforge.models.money.ledger import CallKind, close_call, is_open, lose_call, open_call, void_call
from sgforge.models.settings import GatewaySettings
from sgforge.models.values import Usage

__all__ = ["Account", "Reservation", "Terms"]


class Account:
    """Reservations of this process that are open; who finds no room left waits for one to be closed.

    `changes` counts the ends of reservations. Who saw the budget full compares it with what it was before it looked:
    a reservation that ended in between has made room, or was the last one, and neither may be taken for "no room".
    """

    def __init__(self) -> None:
        self._open: dict[object, int] = {}
        self._opening = 0
        self._changed: asyncio.Event | None = None
        self.changes = 0

    @property
    def open_nano(self) -> int:
        """What the open reservations may cost at most, in nano-dollars."""
        return sum(self._open.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is reserved, nor about to be.

        It counts from before it is written: the ledger holds its money a moment before its owner hears of that,
        and who looks in between would find no room and nobody who could make some.
        """
        return not self._open and not self._opening

    @contextmanager
    def opening(self) -> Iterator[None]:
        """While a call is being reserved. One that the budget refuses looks itself whether all is over; who leaves in
        any other way lets those look who waited for it."""
        self._opening += 1
        try:
            yield
        except BudgetReachedError:
            raise
        except BaseException:
            self.changes += 1
            self.wake()
            raise
        finally:
            self._opening -= 1

    def opened(self, call: object, bound_nano: int) -> None:
        """A call was reserved."""
        self._open[call] = bound_nano

    def closed(self, call: object) -> None:
        """A reservation was settled, lost or voided, or is out of our hands."""
        self._open.pop(call, None)
        self.changes += 1
        self.wake()

    def wake(self) -> None:
        """Let all who wait look again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait(self, changes: int) -> None:
        """Until a reservation is closed, counted from when `changes` was read, or until all are woken."""
        if self.changes != changes:
            return
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()


@attrs.frozen
class Terms:
    """What a reservation enters into the ledger: key and model of a request, kind of call, worst case, price table."""

    key: bytes
    model: str
    kind: CallKind
    bound_nano: int | None
    prices: str


@attrs.define(eq=False)
class _Row:
    """A row of the ledger whose number only the store's thread knows: it is set there, in the transaction."""

    id: int | None = None


class Reservation:
    """The money of one request through all its tries. However its `async with` is left, nothing stays reserved.

    A try that is on the wire may be billed: left open, it becomes "lost" and stays at its worst case. One that is not
    is void. A try that surely was not billed leaves the reservation open for the next one.
    """

    def __init__(self, account: Account, store: Store, settings: GatewaySettings, terms: Terms) -> None:
        self._account = account
        self._store = store
        self._settings = settings
        self._terms = terms
        self._row: _Row | None = None
        self._is_on_wire = False

    @property
    def key(self) -> bytes:
        """The key of the request it is for."""
        return self._terms.key

    async def open(self, bound_nano: int | None = None) -> None:
        """Enter the call, if it is not; a `BudgetReachedError` without room, a `StoreError` on a full disk.

        `bound_nano`: what it may cost at most, if that is less than its terms say.
        """
        if self._row is not None:
            return
        if bound_nano is not None:
            self._terms = attrs.evolve(self._terms, bound_nano=bound_nano)
        self._store.check_room()
        terms, row = self._terms, _Row()

        def operation(connection: sqlite3.Connection) -> None:
            # Run again after a rollback, when the number of the first time means nothing any more.
            row.id = None
            row.id = open_call(
                *(terms.key, terms.model, terms.kind, terms.bound_nano),
                *(self._settings.budget_usd, terms.prices),
            )(connection)

        # Before the wait: whoever gives up while the row is being written must still know that there will be one.
        self._row = row
        with self._account.opening():
            try:
                await self._store.write(operation)
            except Exception:
                # Refused or not written: there is no row. A cancellation is no Exception, and leaves it to `__aexit__`.
                self._row = None
                raise
            self._account.opened(row, terms.bound_nano or 0)

    def sending(self) -> None:
        """From here on the call may be billed."""
        self._is_on_wire = True

    def returned(self) -> None:
        """The server has surely not billed it: the next try takes the same reservation."""
        self._is_on_wire = False

    async def settle(self, outcome: str, usage: Usage, cost: int | None, seconds: float, save: Operation[None]) -> None:
        """Commit the true cost, and with `save` the answer, in one transaction."""
        row = self._row
        assert row is not None, "it was sent"

        def operation(connection: sqlite3.Connection) -> None:
            assert row.id is not None, "it was opened"
            close_call(connection, row.id, outcome, usage, cost, seconds)
            save(connection)

        # The write happens even if we are cancelled while we wait for it: from here on there is nothing to lose.
        self._row = None
        try:
            await self._store.write(operation)
        except StoreError:
            raise  # it stays open in the ledger, at its worst case: it may have been billed
        except Exception:
            # A fault of ours, not of the disk: the row is as it was, and on the way out it becomes "lost".
            self._row = row
            raise
        finally:
            self._account.closed(row)

    async def lose(self, reason: str, save: Operation[None]) -> None:
        """The try may have been billed and brought no answer; the next one needs money of its own. `save` keeps what
        came in its place, in the same transaction."""
        await self._close(lose_call, reason, save)

    async def __aenter__(self) -> Reservation:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._row is None:
            return
        close = lose_call if self._is_on_wire else void_call
        if isinstance(error, Exception):
            await self._close(close, error.reason if isinstance(error, ModelError) else type(error).__name__)
            return
        # Given up (a timeout, a task group, the loop's end): it must not wait for a disk, nor be kept from its end by
        # a second cancellation. The store works in order, so who asks for the money next finds it free.
        row, self._row = self._row, None
        self._store.post(self._closing(row, close, "cancelled"))
        self._account.closed(row)

    async def _close(self, close: Any, reason: str, save: Operation[None] | None = None) -> None:
        row, self._row = self._row, None
        self._is_on_wire = False
        if row is None:
            return
        try:
            await self._store.write(self._closing(row, close, reason, save))
        finally:
            self._account.closed(row)

    def _closing(self, row: _Row, close: Any, reason: str, save: Operation[None] | None = None) -> Operation[None]:
        def operation(connection: sqlite3.Connection) -> None:
            # There is no row where the budget refused it while its owner was leaving.
            if row.id is not None and is_open(connection, row.id, self._terms.key):
                close(row.id, reason)(connection)
            if save is not None:
                save(connection)

        return operation
