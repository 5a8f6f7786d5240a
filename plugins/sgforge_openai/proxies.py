"""Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as other clients read them."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sgforge.models import ProviderError

__all__ = ["cannot_use", "connect_error", "proxy_for", "through", "told_through"]

_REFUSALS: Final = frozenset({401, 403, 407})


def proxy_for(url: str) -> str | None:
    """The proxy's address for `url`; None for a direct connection, which an address of this machine always gets."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_here(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    # Port and host both, as NO_PROXY may name either.
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]) or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def cannot_use(proxy: str | None) -> str | None:
    """Why nothing can be sent through a proxy; None if it can."""
    if proxy is None or urlsplit(proxy).scheme in ("http", "https"):
        return None
    told = f"the proxy {_without_user(proxy)} is none that compat/ can use"
    return f"{told}: name one by http:// in HTTP_PROXY and HTTPS_PROXY, or the server in NO_PROXY"


def told_through(proxy: str | None) -> str:
    """A proxy in the message about what went through it."""
    return "" if proxy is None else f" through the proxy {_without_user(proxy)}"


def connect_error(url: str, proxy: str | None, status: int, message: str) -> ProviderError:
    """The error of a proxy that would not connect: nothing was sent. One that lets nobody through blames the proxy."""
    told = f"cannot connect to {url}{told_through(proxy)}: {status} {message}"
    return ProviderError(told, status=status, blame="proxy") if status in _REFUSALS else ProviderError(told)


def through(error: ProviderError, proxy: str | None) -> ProviderError:
    """An error that was answered by a server, or by the proxy before it, which nothing but a 407 tells apart."""
    if proxy is None:
        return error
    return ProviderError(
        f"{error}{told_through(proxy)}",
        status=error.status,
        retry_after=error.retry_after,
        maybe_billed=error.maybe_billed,
        reason=error.reason,
        blame="proxy" if error.status == 407 else "item" if error.concerns_item else error.blame,
        body=error.body,
    )


def _without_user(proxy: str) -> str:
    """A proxy's address as it may be told: without the user and password it may hold."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _is_here(host: str) -> bool:
    """Whether a host is this machine: a loopback address, its name, or the address of no host, which means it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any(one.is_loopback or one.is_unspecified for one in (address, mapped) if one is not None)
