"""Which calls stand behind an answer, and what they cost: collectors that follow the task, not the thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import attrs

from sgforge.models.errors import ModelError, NotSentError
from sgforge.models.values import ChatRequest, ChatResponse, Usage

__all__ = [
    "Exchange",
    "Observed",
    "asked_in_full",
    "collect_calls",
    "note_call",
    "note_exchange",
    "note_not_sent",
    "note_observed",
    "observe_calls",
    "record_exchanges",
]


@attrs.frozen
class Observed:
    """One request as an estimate counts it; `is_bound`: its output is taken as the most it may be.

    `cached_usd`, `batch_usd`: what it would cost where the vendor reads what was sent before from its prompt cache, and
    in a batch; None where that is not known, or there is none.
    """

    model: str
    cached: bool
    usage: Usage
    cost_usd: float | None
    seconds: float
    is_bound: bool = False
    cached_usd: float | None = None
    batch_usd: float | None = None


@attrs.frozen
class Exchange:
    """What a model was asked, and what it answered: a response, or why there is none."""

    model: str
    request: ChatRequest
    answer: ChatResponse | ModelError


_CALLS: ContextVar[list[str] | None] = ContextVar("sgforge_calls", default=None)
_OBSERVED: ContextVar[list[Observed] | None] = ContextVar("sgforge_observed", default=None)
_EXCHANGES: ContextVar[list[Exchange] | None] = ContextVar("sgforge_exchanges", default=None)
_NOT_SENT: ContextVar[list[NotSentError] | None] = ContextVar("sgforge_not_sent", default=None)


@contextmanager
def collect_calls() -> Iterator[list[str]]:
    """Collect the call ids of every model answer used inside, in order, each once; also in tasks started inside."""
    calls: list[str] = []
    token = _CALLS.set(calls)
    try:
        yield calls
    finally:
        _CALLS.reset(token)


@contextmanager
def observe_calls() -> Iterator[list[Observed]]:
    """Collect every request made inside with its tokens, cost and seconds; also in tasks started inside."""
    observed: list[Observed] = []
    token = _OBSERVED.set(observed)
    try:
        yield observed
    finally:
        _OBSERVED.reset(token)


@contextmanager
def record_exchanges() -> Iterator[list[Exchange]]:
    """Collect every request made inside in full, with its answer; also in tasks started inside."""
    exchanges: list[Exchange] = []
    token = _EXCHANGES.set(exchanges)
    try:
        yield exchanges
    finally:
        _EXCHANGES.reset(token)


@contextmanager
def asked_in_full() -> Iterator[None]:
    """A `NotSentError` at the end if a stop kept any request of the block back, whatever the block made of it.

    A component that has an answer ready for every error would otherwise give it for an image that was never asked.
    """
    kept_back: list[NotSentError] = []
    token = _NOT_SENT.set(kept_back)
    try:
        yield
    except Exception as error:
        if kept_back:
            raise NotSentError from error
        raise
    finally:
        _NOT_SENT.reset(token)
    if kept_back:
        raise NotSentError from kept_back[0]


def note_not_sent(error: NotSentError) -> None:
    """Tell the block around this task, if there is one, that a request of it was kept back."""
    kept_back = _NOT_SENT.get()
    if kept_back is not None:
        kept_back.append(error)


def note_call(call_id: str) -> None:
    """Add a call to the collector around this task, if there is one."""
    calls = _CALLS.get()
    if calls is not None and call_id not in calls:
        calls.append(call_id)


def note_observed(observed: Observed) -> None:
    """Add a request to the observer around this task, if there is one."""
    found = _OBSERVED.get()
    if found is not None:
        found.append(observed)


def note_exchange(model: str, request: ChatRequest, answer: ChatResponse | ModelError) -> None:
    """Add a request and its answer to the record around this task, if there is one."""
    found = _EXCHANGES.get()
    if found is not None:
        found.append(Exchange(model, request, answer))
