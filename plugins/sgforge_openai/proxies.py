"""Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as other clients read them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["proxy_for", "without_user"]


def proxy_for(url: str) -> str | None:
    """The proxy's address for `url`; None for a direct connection, which a loopback address always gets."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    # Port and host both, as NO_PROXY may name either.
    return None if proxy is None or proxy_bypass(parts.netloc) or proxy_bypass(host) else proxy


def without_user(proxy: str) -> str:
    """A proxy's address as it may be told: without the user and password it may hold."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
