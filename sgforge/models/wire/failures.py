"""What a failed call says: answers of HTTP and errors of vendors' SDKs as the gateway's `ProviderError`.

No SDK is imported here. Those that are generated alike name their errors alike, and an error is known by what it has:
a status, headers, a body.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from sgforge.models.errors import Blame, ProviderError

__all__ = ["http_error", "message_of", "retry_after_s", "sdk_errors"]

_MESSAGE: Final = 400
_TAG = re.compile(rb"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_NOT_THERE: Final = frozenset({404, 405})
_NO_MODEL = re.compile(
    r"model_not_found|invalid_model\b|invalid model( name|:)|valid model id|model not exist"
    r"|\bmodel\b.{0,100}\b(does not exist|not found)",
    re.DOTALL | re.IGNORECASE,
)
_NO_MONEY = re.compile(r"insufficient_quota|billing_hard_limit_reached|credit balance is too low", re.IGNORECASE)
_UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout"})
"""Names of the errors of an HTTP client whose connection never stood: nothing was sent, so nothing is billed."""


def http_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error of a call that was answered with a status other than 200."""
    return ProviderError(
        message_of(body), status=status, retry_after=retry_after_s(headers), blame=_blame(status, body)
    )


@contextmanager
def sdk_errors(sdk: Any) -> Iterator[None]:
    """Inside, the errors of an SDK's module are raised as the gateway's.

    Without a response a call is billed for all we know, unless not even a connection stood.
    """
    try:
        yield
    except sdk.APIStatusError as error:
        raise http_error(error.status_code, error.response.headers, error.response.content) from None
    except sdk.APITimeoutError as error:
        raise ProviderError("no answer in time", maybe_billed=_was_sent(error), reason="timeout") from None
    except sdk.APIConnectionError as error:
        raise ProviderError(f"connection lost: {error.__cause__!r}", maybe_billed=_was_sent(error)) from None


def message_of(body: bytes) -> str:
    """What an error response says, short and on one line: its `error.message`, else the start of its text."""
    if body.lstrip().startswith(b"<"):
        return f"a web page: {_line(_TAG.sub(b' ', body))}"
    try:
        content = orjson.loads(body)
        error = content.get("error", content)
        message = error.get("message") if isinstance(error, dict) else error
        if isinstance(message, str):
            return _line(message.encode())
    except (ValueError, AttributeError):
        pass
    return _line(body)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response's headers ask to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("retry-after")
    for text, unit in ((milliseconds, 1e-3), (seconds, 1.0)):
        try:
            if text is not None and (value := float(text)) >= 0 and math.isfinite(value):
                return value * unit
        except ValueError:
            continue
    try:
        return max(0.0, parsedate_to_datetime(seconds or "").timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _blame(status: int, body: bytes) -> Blame | None:
    """What is to be mended before any call can succeed, as far as the body tells; None where it may be this call alone.

    An unknown model is a 404 at the vendors and at vLLM and Ollama, a 400 at some gateways; a 404 that does not speak
    of a model comes from an address that is no endpoint. An account without money is a 429 at OpenAI, which no waiting
    mends, and was a 400 at Anthropic before it became a 402.
    """
    text = body.decode("utf-8", "replace")
    if status in _NOT_THERE:
        is_page = body.lstrip().startswith(b"<")
        return "model" if "model" in text.casefold() and not is_page else "address"
    if status in (400, 429) and _NO_MONEY.search(text):
        return "account"
    return "model" if status == 400 and _NO_MODEL.search(text) else None


def _was_sent(error: BaseException) -> bool:
    return type(error.__cause__).__name__ not in _UNSENT


def _line(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())[:_MESSAGE]
