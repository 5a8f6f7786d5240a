"""The server itself: its own event loop in its own thread, a port of the loopback, the two chat endpoints."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

import attrs
import orjson
from aiohttp import web

from sgforge.testing.fake_provider.batches import AnthropicBatches, OpenAIBatches
from sgforge.testing.fake_provider.faults import FakeSettings, Window, chance, pick_fault
from sgforge.testing.fake_provider.instances import answer_by_schema
from sgforge.testing.fake_provider.ledger import Entry, Ledger, Result
from sgforge.testing.fake_provider.messages import (
    Answered,
    FakeAnswer,
    FakeRequest,
    Script,
    Wire,
    chat_body,
    message_body,
    read_chat,
    read_message,
)

__all__ = ["FakeProvider"]

_MAX_BODY: Final = 300_000_000
_CHARS_PER_TOKEN: Final = 4
_LOST: Final = frozenset({"malformed", "half_json", "reset", "hang"})


class FakeProvider:
    """A running fake provider; leave the `with` block to stop it. See the package's docstring."""

    def __init__(self, script: Script | None = None, settings: FakeSettings = FakeSettings(), port: int = 0) -> None:
        self.script: Script = script or answer_by_schema
        self.settings = settings
        self.ledger = Ledger()
        self.port = port
        self._number = 0
        self._in_flight = 0
        self._window = Window(settings.limit, settings.window_s) if settings.limit is not None else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-provider", daemon=True)
        self._error: BaseException | None = None

    @property
    def openai_url(self) -> str:
        """The base_url for openai/ and compat/."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base_url for anthropic/."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def started(self) -> bool:
        """Whether the port is open."""
        return self._started.is_set()

    def __enter__(self) -> FakeProvider:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def serve(self) -> None:
        """Serve in the running loop until cancelled or stopped."""
        self._loop = asyncio.get_running_loop()
        app = web.Application(client_max_size=_MAX_BODY)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat_completions),
                web.post("/v1/messages", self._messages),
                web.get("/ledger", self._show_ledger),
                *OpenAIBatches(self.settings, lambda body, batch: self._ask("chat", body, batch)).routes(),
                *AnthropicBatches(self.settings, lambda body, batch: self._ask("messages", body, batch)).routes(),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=2048)
            await site.start()
            self.port = runner.addresses[0][1]
            self._started.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    def _run(self) -> None:
        try:
            asyncio.run(self.serve())
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _chat_completions(self, http: web.Request) -> web.StreamResponse:
        return await self._chat(http, "chat")

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        return await self._chat(http, "messages")

    async def _chat(self, http: web.Request, wire: Wire) -> web.StreamResponse:
        self._in_flight += 1
        self.ledger.received += 1
        self.ledger.peak_in_flight = max(self.ledger.peak_in_flight, self._in_flight)
        try:
            return await self._answer(http, wire, time.monotonic())
        finally:
            self._in_flight -= 1

    async def _answer(self, http: web.Request, wire: Wire, at: float) -> web.StreamResponse:
        raw = await http.read()
        refusal = self._refuse(http, at)
        if refusal is not None:
            return self._reject(at, http.path, "", "", refusal)
        try:
            body = orjson.loads(raw)
            request = self._numbered(read_chat(body) if wire == "chat" else read_message(body))
        except (ValueError, KeyError, TypeError) as error:
            return self._reject(at, http.path, "", "", FakeAnswer(f"malformed request: {error!r}", 400))
        refusal = self._refuse_content(request)
        answer = refusal or self._scripted(request)
        if answer.status == 200:
            slow = chance(self.settings.seed, "slow", request.number) < self.settings.slow_share
            latency = self.settings.slow_s if slow else self.settings.latency_s
            await asyncio.sleep(latency if answer.delay_s is None else answer.delay_s)
        if answer.status != 200:
            return self._reject(at, http.path, request.model, request.question, answer)
        return await self._send(http, request, answer, at)

    def _refuse(self, http: web.Request, at: float) -> FakeAnswer | None:
        """What is refused before the body is looked at: the key, the rate."""
        settings = self.settings
        if settings.keys is not None:
            given = http.headers.get("Authorization", "").removeprefix("Bearer ") or http.headers.get("X-Api-Key", "")
            if given not in settings.keys:
                return FakeAnswer(f"incorrect key provided: {given}", 401)
        full = settings.most_in_flight is not None and self._in_flight > settings.most_in_flight
        if full or (self._window is not None and not self._window.admits(at)):
            return FakeAnswer("rate limit reached", 429, retry_after_s=settings.retry_after_s)
        return None

    def _refuse_content(self, request: FakeRequest) -> FakeAnswer | None:
        settings = self.settings
        if settings.models is not None and request.model not in settings.models:
            return FakeAnswer(f"the model {request.model} does not exist", 404)
        if request.images and request.model in settings.blind:
            return FakeAnswer(f"the model {request.model} does not take images", 400)
        largest = max(map(len, request.images), default=0)
        if settings.max_image_bytes is not None and largest > settings.max_image_bytes:
            return FakeAnswer(f"an image is larger than {settings.max_image_bytes} bytes", 400)
        return None

    def _scripted(self, request: FakeRequest) -> FakeAnswer:
        answer = self.script(request)
        fault = answer.fault or pick_fault(self.settings, request.number)
        if fault is None:
            return answer
        if fault.startswith("http_"):
            status = int(fault.removeprefix("http_"))
            wait = self.settings.retry_after_s if status == 429 else None
            return attrs.evolve(answer, text=fault, status=status, retry_after_s=wait, fault=fault)
        if fault == "refusal":
            return attrs.evolve(answer, text="I cannot help with that.", finish="refusal")
        if fault == "length":
            return attrs.evolve(answer, text=answer.text[: len(answer.text) // 2], finish="length")
        if fault == "bad_schema":
            return attrs.evolve(answer, text="Sure! Here is what I see in the picture.")
        return attrs.evolve(answer, fault=fault)

    async def _send(self, http: web.Request, request: FakeRequest, answer: FakeAnswer, at: float) -> web.StreamResponse:
        counts = self._count(request, answer)
        body = (chat_body if request.wire == "chat" else message_body)(request, answer, self._told(counts))
        data = b"<html>bad gateway</html>" if answer.fault == "malformed" else orjson.dumps(body)
        result: Result = "lost" if answer.fault in _LOST else "answered"
        self._enter(at, http.path, request, result, answer.fault or answer.finish, counts)
        if answer.fault == "hang":
            await asyncio.sleep(self.settings.hang_s)
        if answer.fault == "reset":
            return await self._cut(http, data)
        if answer.fault == "half_json":
            data = data[: len(data) // 2]
        return web.Response(body=data, content_type="application/json")

    async def _cut(self, http: web.Request, data: bytes) -> web.StreamResponse:
        """Promise the whole body, send half of it, and reset the connection."""
        response = web.StreamResponse(headers={"Content-Length": str(len(data)), "Content-Type": "application/json"})
        await response.prepare(http)
        await response.write(data[: len(data) // 2])
        if http.transport is not None:
            http.transport.abort()
        return response

    def _ask(self, wire: Wire, body: Mapping[str, Any], batch: bool) -> Answered:
        """Answer one request of a batch."""
        request = attrs.evolve(self._numbered(read_chat(body) if wire == "chat" else read_message(body)), batch=batch)
        answer = self._refuse_content(request) or self._scripted(request)
        if answer.status != 200:
            return Answered(answer.status, {"error": {"message": answer.text}})
        counts = self._count(request, answer)
        self._enter(time.monotonic(), "batch", request, "answered", answer.finish, counts)
        return Answered(200, (chat_body if wire == "chat" else message_body)(request, answer, self._told(counts)))

    def _numbered(self, request: FakeRequest) -> FakeRequest:
        self._number += 1
        return attrs.evolve(request, number=self._number)

    def _count(self, request: FakeRequest, answer: FakeAnswer) -> tuple[int, int, int]:
        if answer.usage is not None:
            return answer.usage
        given = len(request.text) // _CHARS_PER_TOKEN + self.settings.image_tokens * len(request.images) + 1
        written = max(1, len(answer.text) // _CHARS_PER_TOKEN)
        return given, 0, min(written, request.max_tokens or written)

    def _told(self, counts: tuple[int, int, int]) -> tuple[int, int, int] | None:
        return counts if self.settings.with_usage else None

    def _reject(self, at: float, path: str, model: str, question: str, answer: FakeAnswer) -> web.Response:
        self.ledger.entries.append(
            Entry(
                number=self._number,
                at=at,
                done=time.monotonic(),
                path=path,
                model=model,
                question=question,
                result="rejected",
                detail=str(answer.status),
                input_tokens=0,
                output_tokens=0,
            )
        )
        wait = answer.retry_after_s
        headers = {"Retry-After": f"{wait:g}"} if wait is not None else {}
        error = {"type": "error", "error": {"type": f"http_{answer.status}", "message": answer.text}}
        return web.Response(
            status=answer.status, headers=headers, body=orjson.dumps(error), content_type="application/json"
        )

    def _enter(
        self, at: float, path: str, request: FakeRequest, result: Result, detail: str, counts: tuple[int, int, int]
    ) -> None:
        self.ledger.entries.append(
            Entry(
                number=request.number,
                at=at,
                done=time.monotonic(),
                path=path,
                model=request.model,
                question=request.question,
                result=result,
                detail=detail,
                input_tokens=counts[0],
                output_tokens=counts[2],
                batch=request.batch,
            )
        )

    async def _show_ledger(self, http: web.Request) -> web.Response:
        """The ledger for a test in another process: counts, and the entries when asked for."""
        ledger = self.ledger
        content: dict[str, Any] = {"received": ledger.received, "answered": ledger.answered}
        content |= {"rejected": ledger.rejected, "repeated": len(ledger.repeated), "peak": ledger.peak_in_flight}
        content["lost"] = len(ledger.entries) - ledger.answered - ledger.rejected
        if "entries" in http.query:
            content["entries"] = [attrs.asdict(entry) for entry in ledger.entries]
        return web.Response(body=orjson.dumps(content), content_type="application/json")
