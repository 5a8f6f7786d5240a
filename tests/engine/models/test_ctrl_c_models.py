"""Ctrl-C while models are asked: what is on the wire comes home and is kept, nothing more is bought."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import engine_asking
import engine_toys
import pytest
from engine_toys import ToyTeacher
from support.waiting import LONGEST, read_until, wait_until

import sgforge as sg
from sgforge.models import Capabilities, ChatRequest, Gateway, Message, ModelError, ModelSettings, TextPart, Usage
from sgforge.models.provider import Reply
from sgforge.stages import Needs
from sgforge.testing import IsolatedPlugins

DRAINING = "finishing what is in flight; Ctrl-C again cancels it"
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "model": "x",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"subjects": []}'}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


class HoldingServer:
    """Answers the first requests at once; holds the others until `go` is set."""

    def __init__(self, at_once: int) -> None:
        self.received = 0
        self.answered = 0
        self.go = threading.Event()
        lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    outer.received += 1
                    is_held = outer.received > at_once
                if is_held:
                    outer.go.wait(LONGEST)
                body = json.dumps(ANSWER).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                with lock:
                    outer.answered += 1

            def log_message(self, *arguments: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[HoldingServer]:
    found = HoldingServer(at_once=4)
    yield found
    found.close()


def start(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sgforge", "run", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ledger(folder: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(folder / "d" / "responses.sqlite")) as base:
        return base.execute("SELECT state, COUNT(*) FROM call GROUP BY state ORDER BY state").fetchall()


SCENES = """\
dataset = "d"
[source]
use = "scenes"
folder = "s"
count = 40
size = 96
[[step]]
complete = "svg"
model = "compat/x"
[models."compat/x"]
base_url = "{url}"
max_in_flight = 2
"""


def test_after_ctrl_c_at_most_what_is_on_the_wire_is_bought(server, tmp_path):
    (tmp_path / "p.toml").write_text(SCENES.format(url=server.url))
    process = start(tmp_path, dict(os.environ), "p.toml", "--json")
    wait_until(lambda: server.received == 6, "two calls that are held")
    process.send_signal(signal.SIGINT)
    read_until(process, DRAINING)
    server.go.set()
    output, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 130, errors
    bought = server.received
    assert bought - 6 <= 2
    step = json.loads(output.splitlines()[-1])["steps"]["complete"]
    # Not sent is neither done nor failed: all that was bought is kept, the rest is left.
    counts = {name: step[name] for name in ("status", "computed", "reused", "failed", "reasons")}
    assert counts == {"status": "unfinished", "computed": bought, "reused": 0, "failed": 0, "reasons": {}}
    assert step["notes"] == [f"{40 - bought} images are left for the next run"]
    assert ledger(tmp_path) == [("settled", bought)]

    output, errors = start(tmp_path, dict(os.environ), "p.toml", "--json").communicate(timeout=LONGEST)
    step = json.loads(output.splitlines()[-1])["steps"]["complete"]
    assert (step["computed"], step["reused"], step["failed"]) == (40 - bought, bought, 0), errors
    assert server.received == 40


TRAINING = """\
dataset = "d"
[source]
use = "toy"
count = 20
[[step]]
train = "asking"
questions = 20
[models."compat/any"]
base_url = "{url}"
"""


def test_a_training_of_its_own_process_buys_nothing_more_either(server, tmp_path):
    environment = {**engine_toys.toy_environment(tmp_path / "site"), "SGFORGE_PLUGINS": "toys,asking,openai"}
    engine_asking.install(tmp_path / "site")
    (tmp_path / "p.toml").write_text(TRAINING.format(url=server.url))
    process = start(tmp_path, environment, "p.toml", "--json")
    wait_until(lambda: server.received == 5, "a call that is held")
    process.send_signal(signal.SIGINT)
    read_until(process, DRAINING)
    server.go.set()
    output, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 130, errors
    bought = server.received
    assert bought - 5 <= 1
    assert json.loads(output.splitlines()[-1])["steps"]["train"]["status"] == "unfinished"
    # The answer that was on the wire is kept, although the training ended with the signal.
    assert ledger(tmp_path) == [("settled", bought)]
    output, errors = start(tmp_path, environment, "p.toml", "--json").communicate(timeout=LONGEST)
    assert json.loads(output.splitlines()[-1])["steps"]["train"]["status"] == "done", errors
    assert server.received == 40  # 20 one after the other, 20 together


class LateProvider:
    """A model in this process: the third call presses Ctrl-C and is answered when no more is sent."""

    stopped = threading.Event()
    sent: list[str] = []

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(images=False, paid=False)

    def identity(self, model: str) -> None:
        return None

    def problems(self, model: str) -> list[str]:
        return []

    def body(self, model: str, request: ChatRequest, encode: object) -> dict[str, str]:
        return {"text": request.messages[-1].parts[0].text}

    def load(self, model: str) -> None: ...

    async def send(self, body) -> bytes:
        self.sent.append(body["text"])
        if len(self.sent) == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            while not self.stopped.is_set():
                await asyncio.sleep(0.001)
        return b"fine"

    def read(self, raw: bytes) -> Reply:
        return Reply(raw.decode(), "stop", Usage(input=1, output=1))

    async def close(self) -> None: ...


@attrs.frozen
class AskingOptions:
    model: str
    swallows: bool = False


class Asking(ToyTeacher):
    """Asks about each image; with `swallows`, what it makes of an error is an empty edit."""

    def __init__(self, options: AskingOptions) -> None:
        super().__init__()
        self.swallows = options.swallows

    async def ask(self, sample) -> sg.Edit:
        try:
            request = ChatRequest((Message("user", (TextPart(sample.image_id),)),), max_tokens=5)
            await self.resources.model.complete(request)
        except ModelError:
            if not self.swallows:
                raise
        return sg.Edit()


class SyncAsking(Asking):
    def complete(self, samples):
        return [asyncio.run(self.ask(sample)) for sample in samples]


class AsyncAsking(Asking):
    async def complete(self, sample):
        return await self.ask(sample)


class Plugin:
    @sg.hookimpl
    def sgforge_register_models(self, register):
        register("late", LateProvider, config=ModelSettings)

    @sg.hookimpl
    def sgforge_register_teachers(self, register):
        for name, target in (("sync", SyncAsking), ("async", AsyncAsking)):
            register(name, target, config=AskingOptions, needs=Needs(model=True, deterministic=False))


@pytest.fixture
def late(monkeypatch) -> Iterator[type[LateProvider]]:
    """The provider, anew; it hears when no more is sent."""
    monkeypatch.setattr(LateProvider, "stopped", threading.Event())
    monkeypatch.setattr(LateProvider, "sent", [])
    stop_sending = Gateway.stop_sending

    def stop_and_tell(gateway: Gateway) -> None:
        stop_sending(gateway)
        LateProvider.stopped.set()

    monkeypatch.setattr(Gateway, "stop_sending", stop_and_tell)
    with IsolatedPlugins(engine_toys.this_plugin(), Plugin()):
        yield LateProvider


class Student(engine_asking.AskingStudent):
    """Asks in its training, one question after the other, or while it ranks; with `swallows`, goes on after errors."""

    needs = Needs(model=True)

    def __init__(self, questions: int, swallows: bool = False) -> None:
        super().__init__(engine_asking.AskingOptions(model="late/one", questions=questions))
        self.swallows = swallows

    def ask(self, text: str) -> str:
        try:
            return super().ask(text)
        except ModelError:
            if not self.swallows:
                raise
            return "nothing"


@pytest.mark.parametrize("swallows", [False, True])
def test_a_training_in_this_process_that_could_not_ask_is_unfinished(late, swallows, tmp_path):
    def run(student: Student):
        pipeline = sg.Pipeline(sg.train(student), models={"late/one": {"max_in_flight": 1}})
        return pipeline.run(sg.source("toy", count=20), tmp_path / "d", progress=False)

    report = run(Student(4, swallows))
    assert (report.status, report.step("train").status) == ("interrupted", "unfinished")
    assert late.sent == ["question 0", "question 1", "question 2"]
    assert run(Student(4)).step("train").status == "done"
    assert len(late.sent) == len(set(late.sent)) == 8


@pytest.mark.parametrize("swallows", [False, True])
def test_an_evaluation_whose_student_could_not_ask_is_unfinished(late, swallows, tmp_path):
    def run(student: Student):
        steps = (sg.train(student), sg.evaluate("toy"))
        pipeline = sg.Pipeline(*steps, models={"late/one": {"max_in_flight": 1}})
        return pipeline.run(sg.source("toy", count=60), tmp_path / "d", progress=False)

    report = run(Student(0, swallows))
    assert (report.status, report.step("train").status) == ("interrupted", "done")
    assert report.step("evaluate").status == "unfinished"
    assert len(late.sent) == 3
    done = run(Student(0)).step("evaluate")
    assert done.status == "done"
    assert done.report.images_used == len(late.sent) == len(set(late.sent))
    assert len(late.sent) > 3


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_image_that_was_not_asked_goes_back_whatever_its_component_makes_of_it(late, kind, swallows, tmp_path):
    def run():
        step = sg.complete(kind, model="late/one", swallows=swallows)
        models = {"late/one": {"max_in_flight": 1}}
        return sg.Pipeline(step, models=models).run(sg.source("toy", count=12), tmp_path / "d", progress=False)

    report = run()
    step = report.step("complete")
    assert (report.status, step.status) == ("interrupted", "unfinished")
    assert late.sent == ["00000", "00001", "00002"]
    # Of a batch that could not be asked in full nothing is kept but what it bought, which is not bought again.
    kept = 3 if kind == "async" else 0
    assert (step.counts.computed, step.counts.failed) == (kept, 0)
    assert step.notes == (f"{12 - kept} images are left for the next run",)
    done = run()
    assert (done.status, done.step("complete").counts.computed) == ("done", 12 - kept)
    assert len(late.sent) == len(set(late.sent)) == 12
