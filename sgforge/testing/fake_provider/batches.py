"""Both vendors' batch endpoints, and OpenAI's files."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import orjson
from aiohttp import web

from sgforge.testing.fake_provider.faults import FakeSettings, chance
from sgforge.testing.fake_provider.messages import Answered

__all__ = ["AnthropicBatches", "OpenAIBatches"]

_EXPIRED: Final = {"code": "batch_expired", "message": "This request could not be executed before the window ended."}
Ask = Callable[[Mapping[str, Any], bool], Answered]
"""Answers one request's body (and says that it came in a batch)."""


@attrs.define
class _Batch:
    """One submitted batch; its requests are answered when it has ended."""

    id: str
    lines: Sequence[Mapping[str, Any]]
    created: float
    input_file: str = ""
    metadata: Mapping[str, str] | None = None
    cancelled: bool = False
    results: list[Mapping[str, Any]] | None = None
    output_file: str | None = None
    error_file: str | None = None


@attrs.define
class _Batches(ABC):
    """What both vendors have in common: when a batch ends, and what becomes of each of its requests."""

    settings: FakeSettings
    ask: Ask
    batches: dict[str, _Batch] = attrs.field(factory=dict)

    def find(self, request: web.Request) -> _Batch:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            raise web.HTTPNotFound(text='{"error": {"message": "no such batch"}}', content_type="application/json")
        self.advance(batch)
        return batch

    def newest(self) -> list[_Batch]:
        for batch in self.batches.values():
            self.advance(batch)
        return list(reversed(self.batches.values()))

    def advance(self, batch: _Batch) -> None:
        ready = time.time() >= batch.created + self.settings.batch_delay_s
        if batch.results is None and (ready or batch.cancelled):
            results = [self.run(batch, number, line) for number, line in enumerate(batch.lines)]
            if self.settings.unordered:
                random.Random(self.settings.seed).shuffle(results)
            batch.results = results
            self.finish(batch)

    def fate(self, batch: _Batch, number: int) -> str:
        draw = chance(self.settings.seed, batch.id, number)
        if batch.cancelled:
            return "canceled"
        if draw < self.settings.batch_expire_share:
            return "expired"
        return "errored" if draw < self.settings.batch_expire_share + self.settings.batch_error_share else "run"

    @abstractmethod
    def run(self, batch: _Batch, number: int, line: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of one request, as it stands in the vendor's result files."""

    @abstractmethod
    def finish(self, batch: _Batch) -> None:
        """What is left to do when the results are there."""


@attrs.define
class OpenAIBatches(_Batches):
    """POST /v1/files, POST /v1/batches and what reads them."""

    files: dict[str, bytes] = attrs.field(factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/files", self.upload),
            web.get("/v1/files/{id}/content", self.content),
            web.post("/v1/batches", self.create),
            web.get("/v1/batches", self.list),
            web.get("/v1/batches/{id}", self.get),
            web.post("/v1/batches/{id}/cancel", self.cancel),
        ]

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        upload = form["file"]
        if form.get("purpose") != "batch" or not isinstance(upload, web.FileField):
            return web.json_response({"error": {"message": "purpose must be batch"}}, status=400)
        data = upload.file.read()
        name = self.keep(data)
        body = {"id": name, "object": "file", "bytes": len(data), "created_at": 1, "filename": upload.filename}
        return web.json_response({**body, "purpose": "batch", "status": "processed"})

    async def content(self, request: web.Request) -> web.Response:
        data = self.files.get(request.match_info["id"])
        return web.Response(body=data) if data is not None else web.json_response({"error": {}}, status=404)

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        lines = [orjson.loads(line) for line in self.files[body["input_file_id"]].splitlines() if line.strip()]
        batch = _Batch(
            id=f"batch_{len(self.batches)}",
            lines=lines,
            created=time.time(),
            input_file=body["input_file_id"],
            metadata=body.get("metadata"),
        )
        self.batches[batch.id] = batch
        return web.json_response(self.describe(batch))

    async def list(self, request: web.Request) -> web.Response:
        data = [self.describe(batch) for batch in self.newest()]
        after = request.query.get("after")
        if after is not None:
            data = data[[entry["id"] for entry in data].index(after) + 1 :]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self.describe(self.find(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self.find(request)
        batch.cancelled = True
        self.advance(batch)
        return web.json_response(self.describe(batch))

    def run(self, batch: _Batch, number: int, line: Mapping[str, Any]) -> Mapping[str, Any]:
        row = {"id": f"{batch.id}_{number}", "custom_id": line["custom_id"], "response": None, "error": None}
        fate = self.fate(batch, number)
        if fate in ("expired", "canceled"):
            error = _EXPIRED if fate == "expired" else {"code": "batch_cancelled", "message": "cancelled"}
            return {**row, "error": error}
        if fate == "errored":
            body: Any = {"error": {"message": "server error", "type": "server_error"}}
            return {**row, "response": {"status_code": 500, "request_id": "r", "body": body}}
        answered = self.ask(line["body"], True)
        return {**row, "response": {"status_code": answered.status, "request_id": "r", "body": answered.body}}

    def finish(self, batch: _Batch) -> None:
        good: list[bytes] = []
        bad: list[bytes] = []
        for row in batch.results or ():
            (good if row["response"] and row["response"]["status_code"] == 200 else bad).append(orjson.dumps(row))
        batch.output_file = self.keep(b"\n".join(good)) if good else None
        batch.error_file = self.keep(b"\n".join(bad)) if bad else None

    def keep(self, data: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return name

    def describe(self, batch: _Batch) -> dict[str, Any]:
        rows = batch.results or ()
        good = sum(bool(row["response"]) and row["response"]["status_code"] == 200 for row in rows)
        expired = any(row["error"] is not None for row in rows)
        status = "in_progress" if batch.results is None else "expired" if expired else "completed"
        status = "cancelled" if batch.cancelled else status
        body: dict[str, Any] = {"id": batch.id, "object": "batch", "endpoint": "/v1/chat/completions"}
        body |= {"input_file_id": batch.input_file, "completion_window": "24h", "status": status}
        body |= {"created_at": int(batch.created), "metadata": batch.metadata}
        body |= {"output_file_id": batch.output_file, "error_file_id": batch.error_file}
        body["request_counts"] = {"total": len(batch.lines), "completed": good, "failed": len(rows) - good}
        return body


@attrs.define
class AnthropicBatches(_Batches):
    """POST /v1/messages/batches and what reads it."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/messages/batches", self.create),
            web.get("/v1/messages/batches", self.list),
            web.get("/v1/messages/batches/{id}", self.get),
            web.get("/v1/messages/batches/{id}/results", self.results),
            web.post("/v1/messages/batches/{id}/cancel", self.cancel),
        ]

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        batch = _Batch(f"msgbatch_{len(self.batches)}", body["requests"], time.time())
        self.batches[batch.id] = batch
        return web.json_response(self.describe(batch, request))

    async def list(self, request: web.Request) -> web.Response:
        data = [self.describe(batch, request) for batch in self.newest()]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return web.json_response({"data": data, "has_more": False, **ends})

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self.describe(self.find(request), request))

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self.find(request)
        batch.cancelled = True
        self.advance(batch)
        return web.json_response(self.describe(batch, request))

    async def results(self, request: web.Request) -> web.Response:
        rows = self.find(request).results or ()
        return web.Response(body=b"\n".join(orjson.dumps(row) for row in rows), content_type="application/x-jsonl")

    def run(self, batch: _Batch, number: int, line: Mapping[str, Any]) -> Mapping[str, Any]:
        fate = self.fate(batch, number)
        result: dict[str, Any] = {"type": fate}
        if fate == "errored":
            result["error"] = {"type": "error", "error": {"type": "api_error", "message": "server error"}}
        elif fate == "run":
            answered = self.ask(line["params"], True)
            result = {"type": "succeeded", "message": answered.body}
            if answered.status != 200:
                result = {"type": "errored", "error": {"type": "error", **(answered.body or {})}}
        return {"custom_id": line["custom_id"], "result": result}

    def finish(self, batch: _Batch) -> None:
        """Nothing: results are served from the batch itself, not from files."""

    def describe(self, batch: _Batch, request: web.Request) -> dict[str, Any]:
        kinds = [row["result"]["type"] for row in batch.results or ()]
        created = datetime.fromtimestamp(batch.created, UTC)
        ended = batch.results is not None
        url = f"{request.scheme}://{request.host}/v1/messages/batches/{batch.id}/results"
        counts = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
        counts["processing"] = 0 if ended else len(batch.lines)
        body: dict[str, Any] = {"id": batch.id, "type": "message_batch", "request_counts": counts}
        body |= {"processing_status": "ended" if ended else "in_progress", "results_url": url if ended else None}
        body |= {"created_at": created.isoformat(), "expires_at": created.isoformat(), "archived_at": None}
        return {**body, "cancel_initiated_at": None, "ended_at": created.isoformat() if ended else None}
