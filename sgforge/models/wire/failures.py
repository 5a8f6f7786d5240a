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

from sgforge.models.errors import Cause, ProviderError
from sgforge.models.wire.api_keys import redact, redact_body
from sgforge.models.wire.bodies import read_json, token_count

__all__ = ["http_error", "message_of", "no_answer", "retry_after_s", "sdk_errors"]

_MESSAGE: Final = 400
_TAG = re.compile(rb"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_NOT_THERE: Final = frozenset({404, 405})
_REDIRECTED: Final = range(300, 400)
_NO_MODEL = re.compile(
    r"model_not_found|invalid_model\b|invalid model( name|:)|valid model id|model not exist"
    r"|\bmodel\b.{0,100}\b(does not exist|not found)|\"model: ",
    re.DOTALL | re.IGNORECASE,
)
_NO_ENDPOINT = re.compile(r"unexpected endpoint|unknown (url|endpoint|path)|invalid url|no route", re.IGNORECASE)
_NO_MONEY = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|billing_hard_limit_reached|credit balance is too low"
    r"|payment[_ ]required|out of credits|arrears",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"RESOURCE_EXHAUSTED|quota", re.IGNORECASE)
_NONE_LEFT = re.compile(r"\blimit['\"]?\s*[:=]\s*['\"]?0(?![\d.])|per ?day|daily", re.IGNORECASE)
"""Beside a word of quota: there is none, or none before tomorrow, which no waiting of a run mends."""
_MODERATION = re.compile(
    r"moderat|flagged|content[_ ]?(policy|filter|management)|safety|inappropriate|harmful|sensitive content"
    r"|data_?inspection",
    re.IGNORECASE,
)
_PICTURE = re.compile(r"\b(image|img|picture|photo|file|base64|media)s?\b|image_|_image|_file", re.IGNORECASE)
_PASSING = re.compile(
    r"bad gateway|gateway time-?out|unavailable|try again|overload|temporar|timed out|upstream|too many requests",
    re.IGNORECASE,
)
_SERVERS_OWN = re.compile(r"provider returned error|internal (server )?error|server error", re.IGNORECASE)
_BY_NAME: Final[Mapping[str, int]] = {
    "rate_limit": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "overloaded": 529,
    "timeout": 504,
    "server_error": 500,
    "api_error": 500,
    "internal": 500,
    "unavailable": 503,
    "insufficient": 402,
    "billing": 402,
    "authentication": 401,
    "invalid_api_key": 401,
    "permission": 403,
    "not_found": 404,
    "invalid_request": 400,
    "content_filter": 400,
    "content_policy": 400,
}
"""What the names of errors begin with or hold, as the status that goes with them."""
_UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout", "ProxyError"})
"""Names of the errors of an HTTP client whose connection never stood: nothing was sent, so nothing is billed."""


def http_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error of a call that was answered with a status other than 2xx."""
    body = redact_body(body)
    message = message_of(body)
    if status in _REDIRECTED:
        told = redact(headers.get("location") or headers.get("Location") or "another address")
        target = told.partition("?")[0].partition("#")[0][:_MESSAGE]  # a key may stand behind it
        message = f"the server sends on to {target}, where no key is sent: give that address as base_url"
        return ProviderError(message, status=status, blame="address")
    return ProviderError(message, status=status, retry_after=retry_after_s(headers), blame=_blame(status, body))


def no_answer(raw: bytes) -> ProviderError | None:
    """What a body says that came with a good status and is no answer; None if nobody will ever read one in it.

    An error with its code inside is what that status would be, unbilled. A page is from something before the model: it
    may pass, or there is no endpoint. Half a body may have been whole, and billed.
    """
    if raw.lstrip().startswith(b"<"):
        passing = _PASSING.search(raw.decode("utf-8", "replace")) is not None
        return ProviderError(
            f"not an answer: {message_of(raw)}",
            maybe_billed=passing,
            reason="malformed",
            blame=None if passing else "address",
            body=raw,
        )
    try:
        content = read_json(raw)
    except ValueError as error:
        is_half = not raw.strip() or raw.lstrip()[:1] in b"{["
        if not is_half and not _PASSING.search(raw.decode("utf-8", "replace")):
            return None
        told = redact(f"not an answer ({error}): {message_of(raw)[:_TOLD]}")
        return ProviderError(told, maybe_billed=True, reason="malformed", body=raw)
    told_error = _error_in(content)
    return None if told_error is None else _told_error(told_error, raw)


_TOLD: Final = 80
"""Characters of a body that is no answer, in the message about it."""


def _error_in(content: Any) -> Any:
    """The error that a body tells of, in any of the places where servers put it."""
    if isinstance(content, list) and content:
        return _error_in(content[0])
    if not isinstance(content, Mapping):
        return None
    choices = content.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) and choices[0].get("error"):
        return choices[0]["error"]
    if content.get("error"):
        return content["error"]
    is_error = content.get("object") == "error" or content.get("type") == "error" or content.get("success") is False
    return content if is_error else None


def _told_error(error: Any, raw: bytes) -> ProviderError:
    """An error that came with a good status, as the status that is told inside."""
    fields = error if isinstance(error, Mapping) else {}
    codes = (fields.get(name) for name in ("code", "status", "status_code", "http_code"))
    status = next((code for value in codes if (code := token_count(value)) is not None and 400 <= code < 600), None)
    if status is None:
        names = " ".join(str(fields.get(name) or "") for name in ("type", "code", "status")).lower()
        status = next((code for name, code in _BY_NAME.items() if name in names), None)
    if status is None:
        text = raw.decode("utf-8", "replace")
        known = ((402, _NO_MONEY), (404, _NO_MODEL), (404, _NO_ENDPOINT), (500, _PASSING), (500, _SERVERS_OWN))
        status = next((code for code, words in known if words.search(text)), None)
    if status is None:
        return ProviderError(message_of(raw), reason="error_in_200", blame="item")
    return http_error(status, {}, raw)


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
        told = redact(f"connection lost: {error.__cause__!r}")
        raise ProviderError(told, maybe_billed=_was_sent(error)) from None


def message_of(body: bytes) -> str:
    """What an error response says, short and on one line: its `error.message`, else the start of its text."""
    if body.lstrip().startswith(b"<"):
        return f"a web page: {_line(_TAG.sub(b' ', body).decode('utf-8', 'replace'))}"
    try:
        content = read_json(body)
    except ValueError:
        return _line(body.decode("utf-8", "replace"))
    error = _error_in(content)
    error = content if error is None else error
    message = (error.get("message") or error.get("error")) if isinstance(error, Mapping) else error
    return _line(message if isinstance(message, str) else body.decode("utf-8", "replace"))


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


def _blame(status: int, body: bytes) -> Cause | None:
    """What is to be mended before any call can succeed, as far as the body tells; None where it may be this call alone.

    An unknown model is a 404 at the vendors and at vLLM and Ollama, a 400 at some gateways; a 404 that does not speak
    of a model comes from an address that is no endpoint. An account without money is a 429 at OpenAI, which no waiting
    mends, and was a 400 at Anthropic before it became a 402; one without a quota is a 429 at Google. A 403 that speaks
    of moderation, or is a page of something that stands before the server, refuses what was asked and not who asks.
    """
    text = body.decode("utf-8", "replace")
    is_page = body.lstrip().startswith(b"<")
    if status == 403 and (is_page or _MODERATION.search(text)):
        return "item"
    if status in (400, 429) and (_NO_MONEY.search(text) or (_QUOTA.search(text) and _NONE_LEFT.search(text))):
        return "account"
    if status in (400, *_NOT_THERE) and not is_page:
        if _NO_MODEL.search(text):
            return "model"
        if _PICTURE.search(text):
            return "item"
    if status in _NOT_THERE:
        return "model" if "model" in text.casefold() and not is_page else "address"
    return None


def _was_sent(error: BaseException) -> bool:
    return type(error.__cause__).__name__ not in _UNSENT


def _line(text: str) -> str:
    # Masked before it is cut: of a key that lies across the cut, the first half would stay.
    return " ".join(redact(text).split())[:_MESSAGE]
