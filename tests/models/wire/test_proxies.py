"""compat/ through a proxy, a real one on the loopback: what goes through it, what never does, what is told of it."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from models.raw_server import Raw, RawServer, completion
from models.support import ask, gateway
from support.waiting import LONGEST

from sgforge.models import ModelError, ModelSettings
from sgforge_openai.proxies import proxy_for

HOST = "model-server.test"
"""A name that nobody has: only a proxy can reach it."""
PASSWORD = "pass-word-of-the-proxy"


class Proxy:
    """Forwards requests for HTTP to `server`, whatever host they name; answers `status` instead, if it is given.

    `seen`: (method, target, user and password) of every request. A CONNECT is only noted and refused.
    """

    def __init__(self, server: RawServer | None, status: int | None = None) -> None:
        self.seen: list[tuple[str, str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append(("POST", self.path, self.headers.get("Proxy-Authorization")))
                if status is not None or server is None:
                    self._answer(status or 500, b"the proxy says no")
                    return
                path = urlsplit(self.path).path
                headers = {"Content-Type": "application/json"}
                if "Authorization" in self.headers:
                    headers["Authorization"] = self.headers["Authorization"]
                request = urllib.request.Request(f"{server.root}{path}", body, headers)
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(request, timeout=LONGEST) as response:
                    self._answer(response.status, response.read())

            def do_CONNECT(self) -> None:
                outer.seen.append(("CONNECT", self.path, self.headers.get("Proxy-Authorization")))
                self._answer(status or 502, b"")

            def _answer(self, code: int, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def no_proxies_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(lambda _: Raw(json.dumps(completion()).encode())) as started:
        yield started


def attempt(folder: Path, base_url: str, count: int = 1) -> tuple[list[Any], float]:
    """(what became of so many requests, one after the other; USD spent or reserved)"""

    async def work() -> tuple[list[Any], float]:
        async with gateway(folder, budget_usd=1.0) as opened, asyncio.timeout(LONGEST):
            own = ModelSettings(base_url=base_url, input_usd=1.0, output_usd=2.0, deadline_s=0.3)
            model, ends = opened.bind("compat/m", own), []
            for number in range(count):
                ends += await asyncio.gather(model.complete(ask(f"{number}")), return_exceptions=True)
            return ends, opened.spent_usd()

    return asyncio.run(work())


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_request_goes_through_the_proxy_of_its_scheme(
    variable: str, tmp_path: Path, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server) as proxy:
        monkeypatch.setenv(variable, f"http://somebody:{PASSWORD}@{proxy.address}")
        ((end,), _) = attempt(tmp_path, f"http://{HOST}/v1")
        assert end.text == "fine"
        ((method, target, user),) = proxy.seen
    assert (method, target) == ("POST", f"http://{HOST}/v1/chat/completions")
    assert user == "Basic c29tZWJvZHk6cGFzcy13b3JkLW9mLXRoZS1wcm94eQ=="
    assert server.paths == ["/v1/chat/completions"]
    assert "Proxy-Authorization" not in server.headers[0]


def test_a_proxy_may_be_named_without_a_scheme(
    tmp_path: Path, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        ((end,), _) = attempt(tmp_path, f"http://{HOST}/v1")
    assert end.text == "fine"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_nothing_for_this_machine_goes_through_a_proxy(
    host: str, tmp_path: Path, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(None) as proxy:
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://{proxy.address}")
        ((end,), _) = attempt(tmp_path, server.url("compat/m").replace("127.0.0.1", host))
        assert (end.text, proxy.seen) == ("fine", [])


@pytest.mark.parametrize(
    ("url", "goes_through"),
    [
        (f"http://{HOST}/v1", True),
        ("http://127.8.9.10:8000/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://[::ffff:127.0.0.1]:8000/v1", False),
        ("http://vllm.localhost/v1", False),
        ("http://localhost./v1", False),
        ("http://10.0.0.7:8000/v1", True),
        ("http://inside.example/v1", False),
        ("http://gpu.inside.example:8000/v1", False),
        ("http://outside-inside.example/v1", True),
        ("http://host.example:81/v1", False),
        ("http://host.example:82/v1", True),
        ("https://secure.test/v1", False),  # no proxy for https
    ],
)
def test_no_proxy_names_hosts_domains_and_ports(url: str, goes_through: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example, host.example:81")
    assert proxy_for(url) == ("http://proxy.test:3128" if goes_through else None)
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for(url) is None


@pytest.mark.parametrize("status", [403, 407])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named_its_password_is_not_and_nothing_is_billed(
    scheme: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(None, status) as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://somebody:{PASSWORD}@{proxy.address}")
        ends, spent = attempt(tmp_path, f"{scheme}://{HOST}/v1", 4)
        # The first three are refused; by then it is clear that all will be.
        expected = ("CONNECT", f"{HOST}:443") if scheme == "https" else ("POST", f"http://{HOST}/v1/chat/completions")
        assert [seen[:2] for seen in proxy.seen] == [expected] * 3
    for end in ends:
        assert isinstance(end, ModelError)
        assert f"through the proxy http://{proxy.address}" in str(end)
        assert PASSWORD not in str(end)
    assert ends[-1].stops_run
    assert ("HTTP_PROXY and HTTPS_PROXY" in ends[-1].detail) or (scheme, status) == ("http", 403)
    assert spent == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(None) as proxy:
        address = proxy.address
    monkeypatch.setenv("ALL_PROXY", f"http://somebody:{PASSWORD}@{address}")
    ((end,), spent) = attempt(tmp_path, f"{scheme}://{HOST}/v1")
    assert f"through the proxy http://{address}" in str(end)
    assert (PASSWORD in str(end), spent) == (False, 0)


def test_a_proxy_that_cannot_be_used_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from sgforge_openai.compat import CompatProvider

    monkeypatch.setenv("ALL_PROXY", f"socks5://somebody:{PASSWORD}@proxy.test:1080")
    (problem,) = CompatProvider(ModelSettings(base_url=f"http://{HOST}/v1")).problems("m")
    assert "the proxy socks5://proxy.test:1080" in problem
    assert CompatProvider(ModelSettings(base_url="http://127.0.0.1:8000/v1")).problems("m") == []


def test_a_redirect_that_a_proxy_brings_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(lambda _: Raw(json.dumps(completion()).encode())) as other:
        with Proxy(None, 302) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
            ((end,), spent) = attempt(tmp_path, f"http://{HOST}/v1")
            assert len(proxy.seen) == 1
        assert ("give that address as base_url" in str(end), spent, other.paths) == (True, 0, [])
