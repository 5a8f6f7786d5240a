"""Why a model gave no usable answer; every error names a short reason that is counted."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from sgforge.errors import SgforgeError

__all__ = [
    "DEFERRED",
    "NOT_ASKED",
    "Blame",
    "BudgetReachedError",
    "Cause",
    "DeferredError",
    "ModelError",
    "NotSentError",
    "ProviderError",
    "RunStoppedError",
    "StoreError",
]

Blame: TypeAlias = Literal["account", "model", "address", "proxy"]
"""What is wrong with every call alike: key or payment, the model's name, the server's address, a proxy before it."""
Cause: TypeAlias = Blame | Literal["item"]
"""What a failed call is put down to; "item": what was asked, so this call alone, whatever its status says."""
DEFERRED: Final = "deferred"
"""The reason of an answer that is not there yet."""
NOT_ASKED: Final = "not_asked"
"""The reason of an answer that only a run buys which asks again what failed."""
_ACCOUNT: Final = frozenset({401, 402, 403})


class ModelError(SgforgeError):
    """One request without a usable answer: `reason` is a short code, `detail` the message for people.

    `stops_run`: going on with other items is pointless, so the run must end its intake. `goes_back`: nothing was
    asked, so the item is neither done nor failed; the next run does it.
    """

    stops_run = False
    goes_back = False

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class RunStoppedError(ModelError):
    """The provider refuses everything (keys, payment, permission): the run must stop and be mended by a person."""

    stops_run = True


class StoreError(RunStoppedError):
    """The responses file cannot be written (a full disk): nothing more is bought, as its answer could not be kept."""

    def __init__(self, detail: str) -> None:
        super().__init__("responses_file", detail)


class BudgetReachedError(ModelError):
    """The next call could exceed `budget_usd`, so it was not sent."""

    exit_code = 3
    stops_run = True

    def __init__(self, detail: str) -> None:
        super().__init__("budget", detail)


class NotSentError(ModelError):
    """The run was stopped while the request waited for its turn: it was not sent, and costs nothing."""

    goes_back = True

    def __init__(self) -> None:
        super().__init__("not_sent", "the run was stopped while this waited for its turn; the next run asks it")


class DeferredError(ModelError):
    """The answer is not there yet: it waits in a batch, or the gateway was opened only to count."""

    def __init__(self, detail: str) -> None:
        super().__init__(DEFERRED, detail)


class ProviderError(Exception):
    """What a provider raises when a call brought no answer; the gateway decides what follows.

    `status`: the HTTP status, or None when there was no response at all. `retry_after`: seconds the server asked for.
    `maybe_billed`: the request may have been carried out although no answer arrived (a reset, a timeout, half a
    body). `reason`: a short code for what has no status. `blame`: what must be mended before any call can succeed;
    "item" says that it is this call alone, also where the status says otherwise. `body`: what came in place of an
    answer and may have been paid for: it is stored with its fault.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        maybe_billed: bool = False,
        reason: str = "connection",
        blame: Cause | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.maybe_billed = maybe_billed
        self.reason = reason
        self.concerns_item = blame == "item"
        self.blame: Blame | None = None if blame == "item" else blame
        if blame is None and status in _ACCOUNT:
            self.blame = "account"
        self.body = body
