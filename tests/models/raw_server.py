"""A server that sends any bytes at all, as the fake provider does not: a function says what it answers to a body."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import attrs

__all__ = ["Raw", "RawServer", "completion", "message"]


@attrs.frozen
class Raw:
    """What goes over the wire."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {"Content-Type": "application/json"}


class RawServer:
    """On the loopback, in threads of its own. `bodies`: of all requests so far, with their paths in `paths`."""

    def __init__(self, answer: Callable[[dict[str, Any]], Raw]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"null")
                with lock:
                    outer.bodies.append(body)
                    outer.paths.append(self.path)
                    outer.headers.append(dict(self.headers))
                raw = answer(body)
                self.send_response(raw.status)
                for name, value in {**raw.headers, "Content-Length": str(len(raw.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw.body)

            def do_GET(self) -> None:
                with lock:
                    outer.paths.append(self.path)
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url(self, model: str) -> str:
        """The base_url of a model by this name."""
        return self.root if model.startswith("anthropic") else f"{self.root}/v1"

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def completion(text: Any = "fine", usage: Any = None, **choice: Any) -> dict[str, Any]:
    """A chat completion as a server sends it."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15} if usage is None else usage
    message = {"role": "assistant", "content": text, **choice.pop("message", {})}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", **choice}]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}


def message(text: Any = "fine", usage: Any = None, **fields: Any) -> dict[str, Any]:
    """A message as Anthropic's endpoint sends it."""
    usage = {"input_tokens": 10, "output_tokens": 5} if usage is None else usage
    content = [{"type": "text", "text": text}] if isinstance(text, str) else text
    body = {"id": "msg", "type": "message", "role": "assistant", "model": "m", "content": content}
    return {**body, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage, **fields}
