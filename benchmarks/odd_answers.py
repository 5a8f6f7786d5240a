"""Odd answers and marked pictures: the parts `odd` and `pictures` of `gateway.py`; run alone it is the server of `odd`.

`python benchmarks/odd_answers.py PORT SEED` answers request number n of a seed with a good body, or for every other
with one of the reported bodies of tests/data/odd_answers, each as often as the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, Final

import attrs

CASES: Final = Path(__file__).parents[1] / "tests/data/odd_answers/cases.jsonl"
SEED: Final = 20261126
GIVEN: Final = 1000
WRITTEN: Final = 100
"""Tokens that every answer of the server really takes, whatever its body says."""
LATENCY: Final = 0.5
INPUT_USD: Final = 1.0
OUTPUT_USD: Final = 2.0
FREE: Final = frozenset({"403_moderation", "429_quota_of_the_day", "error_in_200", "key_cut_by_truncation"})
"""Cases for which nothing is billed: an error, whatever its status."""
PADDING: Final = "a picture, a claim and what is known of both " * 25


def load_cases() -> list[dict[str, Any]]:
    """The cases of chat completions."""
    rows = map(json.loads, CASES.read_text("utf-8").splitlines())
    return [row for row in rows if row["wire"] == "chat"]


def drawn(seed: int, items: int) -> list[dict[str, Any] | None]:
    """What each item gets: every other one a case, each as often as the others, in an order of the seed."""
    cases, chance = load_cases(), random.Random(seed)
    odd = [cases[number % len(cases)] for number in range(items // 2)]
    chance.shuffle(odd)
    return [odd[number // 2] if number % 2 and number // 2 < len(odd) else None for number in range(items)]


def good(kind: str) -> str:
    """An answer to each kind of request."""
    if kind == "judge":
        return "yes"
    if kind == "list":
        return json.dumps({"answers": [{"question": 1, "answer": "yes"}, {"question": 2, "answer": "no"}]})
    relation = {"predicate": "holding", "object": 2, "category": "interactional"}
    return json.dumps({"subjects": [{"region": 1, "description": "a thing", "relations": [relation]}]})


def serve(port: int, seed: int, items: int) -> None:
    """The server: it notes when each answer went out, and how often each body was asked."""
    from aiohttp import web

    gets, sent, asked, billed = drawn(seed, items), {}, Counter(), [0.0]

    async def chat(request: web.Request) -> web.Response:
        raw = await request.read()
        number, kind = re.search(rb"item (\d+) of kind (\w+)", raw).groups()
        case = gets[int(number)]
        await asyncio.sleep(LATENCY)
        if case is None or case["case"] not in FREE:
            billed[0] += (GIVEN * INPUT_USD + WRITTEN * OUTPUT_USD) / 1e6
            asked[hashlib.sha256(raw).hexdigest()] += 1
        sent.setdefault(number.decode(), time.time())
        if case is None:
            usage = {"prompt_tokens": GIVEN, "completion_tokens": WRITTEN, "total_tokens": GIVEN + WRITTEN}
            choice = {"message": {"content": good(kind.decode())}, "finish_reason": "stop"}
            return web.json_response({"choices": [choice], "usage": usage})
        text = case["raw"] if "raw" in case else json.dumps(case["body"])
        headers = {"Content-Type": case.get("type", "application/json")}
        return web.Response(body=text.encode("utf-8", "surrogatepass"), status=case["status"], headers=headers)

    async def seen(request: web.Request) -> web.Response:
        twice = sum(count > 1 for count in asked.values())
        return web.json_response({"sent": sent, "twice": twice, "billed_usd": billed[0]})

    app = web.Application(client_max_size=1 << 26)
    app.add_routes([web.post("/v1/chat/completions", chat), web.get("/seen", seen)])
    web.run_app(app, host="127.0.0.1", port=port, print=lambda _: print("ready", flush=True))


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure_odd(small: bool) -> dict[str, Any]:
    """Half of the items get odd bodies: what was kept, what was paid, and how soon it was on disk."""
    items, port = (400 if small else 2000), free_port()
    command = [sys.executable, __file__, str(port), str(SEED), str(items)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        try:
            server.stdout.readline()
            found = asyncio.run(ask_all(Path(folder), port, items))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/seen") as response:
                seen = json.load(response)
        finally:
            server.terminate()
    late = [1000 * (found["done"][number] - at) for number, at in seen["sent"].items() if number in found["done"]]
    return {
        "odd_seed": SEED,
        "odd_items": items,
        "odd_readable_lost": found["readable_lost"],
        "odd_asked_twice": seen["twice"],
        "odd_ledger_of_bill": found["usd"] / seen["billed_usd"],
        "odd_commit_ms_median": statistics.median(late),
        "odd_commit_ms_p99": statistics.quantiles(late, n=100)[98],
        **told_apart(found, seen["sent"]),
    }


def told_apart(found: dict[str, Any], sent: dict[str, float]) -> dict[str, float]:
    """Medians of what lies between an answer's being sent and its being on disk and handed on; and how late the event
    loop comes to what is due, which is in each of them: more than a few ms of it are the machine's, not the gateway's.
    """
    watch, done = found["watch"], found["done"]
    whole = [number for number in done if number in sent and number in watch.read]
    return {
        "odd_loop_lag_ms_median": 1000 * statistics.median(watch.lags),
        "odd_loop_lag_ms_p90": 1000 * statistics.quantiles(watch.lags, n=10)[8],
        "odd_sent_to_read_ms": 1000 * statistics.median(watch.read[number] - sent[number] for number in whole),
        "odd_read_to_done_ms": 1000 * statistics.median(done[number] - watch.read[number] for number in whole),
        "odd_a_commit_ms": 1000 * statistics.median(watch.commits),
        "odd_writes_a_commit": statistics.mean(watch.together),
        "odd_cpu_ms_an_item": 1000 * found["cpu"] / len(done),
        "odd_answers_per_s": len(done) / (max(done.values()) - min(done.values())),
    }


ITEM: Final = re.compile(r"item (\d+) of kind")


class Watch:
    """Notes when each answer was read from its socket, what commits take, and how late the event loop comes."""

    def __init__(self) -> None:
        self.read: dict[str, float] = {}
        self.commits: list[float] = []
        self.together: list[int] = []
        self.lags: list[float] = []

    def answers(self, provider: Any) -> Any:
        """The provider, watched."""
        send = provider.send

        async def watched(body: Any) -> bytes:
            raw: bytes = await send(body)
            self.read[ITEM.search(str(body["messages"][0]["content"])).group(1)] = time.time()
            return raw

        provider.send = watched
        return provider

    def writes(self, gateway: Any) -> None:
        """Watch the writer of a gateway's file."""
        commits = gateway.store._commits
        commit = commits._commit_together

        def watched(jobs: Any) -> None:
            started = time.perf_counter()
            commit(jobs)
            self.commits.append(time.perf_counter() - started)
            self.together.append(len(jobs))

        commits._commit_together = watched

    async def loop(self) -> None:
        """How late the event loop comes, a hundred times a second."""
        while True:
            due = time.perf_counter() + 0.01
            await asyncio.sleep(0.01)
            self.lags.append(time.perf_counter() - due)


async def ask_all(folder: Path, port: int, items: int) -> dict[str, Any]:
    """Ask for all items with 100 in flight; when each good or readable one was there, and which were not."""
    from sgforge.models import ChatRequest, Gateway, GatewaySettings, Message, ModelError, ModelSettings
    from sgforge_openai.compat import CompatProvider
    from sgforge_svg.prompts import COMPLETION_READING, COMPLETION_SCHEMA, VERDICT_READING, VERDICT_SCHEMA

    forms = {
        "completion": {"schema": COMPLETION_SCHEMA, "reading": COMPLETION_READING},
        "list": {"schema": VERDICT_SCHEMA, "reading": VERDICT_READING},
        "judge": {"choices": ("yes", "no")},
    }
    settings = ModelSettings(
        base_url=f"http://127.0.0.1:{port}/v1",
        input_usd=INPUT_USD,
        output_usd=OUTPUT_USD,
        deadline_s=1.0,
        max_in_flight=100,
    )
    gets, done, lost = drawn(SEED, items), {}, 0
    limit, watch = asyncio.Semaphore(100), Watch()
    opening = Gateway.open(
        folder / "responses.sqlite",
        GatewaySettings(stop_after_refusals=50),
        lambda name, own: watch.answers(CompatProvider(own)),
    )
    async with opening as gateway:
        watch.writes(gateway)
        looking = asyncio.create_task(watch.loop())
        used = time.process_time()
        model = gateway.bind("compat/m", settings)

        async def one(number: int) -> bool:
            case = gets[number]
            kind = "completion" if case is None else case["kind"]
            text = f"item {number} of kind {kind}: {PADDING}"
            async with limit:
                try:
                    await model.complete(ChatRequest((Message("user", text),), max_tokens=400, **forms[kind]))
                except ModelError:
                    return case is not None and not case["readable"]
                done[str(number)] = time.time()
                return True

        lost = sum(not fine for fine in await asyncio.gather(*map(one, range(items))))
        cpu = time.process_time() - used
        looking.cancel()
        usd = sum(row.usd for row in gateway.spending())
    return {"done": done, "readable_lost": lost, "usd": usd, "watch": watch, "cpu": cpu}


def measure_pictures(small: bool) -> dict[str, Any]:
    """Marked pictures a second on one core; and of the server's rate (or what the cores draw) what a run reaches."""
    import os

    from gateway import Server

    items, latency, in_flight = (120 if small else 600), 0.2, 50
    with tempfile.TemporaryDirectory() as folder, Server.start("--latency", str(latency)) as server:
        graphs = write_crowded(Path(folder), items)
        drawn_per_s = pictures_a_second(graphs, Path(folder))
        run_teacher(Path(folder), graphs, server.url, in_flight)
        rate = server.rate()
    most = min(in_flight / latency, drawn_per_s * len(os.sched_getaffinity(0)))
    return {
        "pictures_per_s_of_a_core": drawn_per_s,
        "pictures_cpu_ms": 1000 / drawn_per_s,
        "pictures_run_per_s": rate,
        "pictures_most_per_s": most,
        "pictures_share": rate / most,
    }


def write_crowded(folder: Path, count: int) -> Path:
    """Pictures of 640x480 with 20 masks each, of ellipses up to a quarter of the picture; the file of their graphs."""
    import numpy as np
    from PIL import Image

    from sgforge.graph import Region, Sample, SceneGraph
    from sgforge.jsonl import write_jsonl
    from sgforge.masks import from_array

    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:480, :640]
    samples = []
    for number in range(count):
        noise = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((640, 480)).save(folder / f"{number}.jpg")
        regions = []
        for _ in range(20):
            x, y = rng.integers(40, 600), rng.integers(40, 440)
            across, down = rng.integers(10, 160), rng.integers(10, 120)
            array = ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1
            mask = from_array(array)
            regions.append(Region("thing", mask.box, mask))
        samples.append(
            Sample(f"{number:05}", SceneGraph(640, 480, regions), uri=f"pictures:{number}.jpg", split="train")
        )
    write_jsonl(samples, folder / "graphs.jsonl")
    return folder / "graphs.jsonl"


def run_teacher(folder: Path, graphs: Path, url: str, in_flight: int) -> None:
    """The svg teacher over all pictures, as a run does it."""
    import sgforge as sg
    from sgforge.models import ModelSettings

    model = ModelSettings(base_url=url, max_in_flight=in_flight, input_usd=INPUT_USD, output_usd=OUTPUT_USD)
    pipeline = sg.Pipeline(sg.complete("svg", model="compat/m"), models={"compat/m": model})
    source = sg.source("jsonl", graphs=str(graphs), images=str(folder))
    pipeline.run(source, folder / "dataset", progress=False)


def pictures_a_second(graphs: Path, folder: Path) -> float:
    """By CPU time in one thread: decoded, drawn with marks and encoded, as a component does it.

    The best of five rounds, as whatever else runs on the machine only adds to it (caches, sibling cores).
    """
    import itertools

    from sgforge.images import Roots
    from sgforge.jsonl import read_jsonl
    from sgforge.models import ImagePart
    from sgforge_svg.view import look_at, picture_of

    roots = Roots({"pictures": folder})
    samples = itertools.islice(read_jsonl(graphs), 40)
    views = [look_at(attrs.evolve(sample, image=roots.image(sample.uri or "")), 60) for sample in samples]
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for view in views:
            ImagePart.from_pil(picture_of(view, "marks", 1024))
        rounds.append(time.process_time() - started)
    return len(views) / min(rounds)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
