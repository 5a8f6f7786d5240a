"""The gateway in the full engine against the vendor's SDK with aiohttp transport and a semaphore: one JSON line.

The fake server runs in its own process, 200 ms an answer. Rates are those the server saw: from the arrival of the
first request to the end of the last answer. `python benchmarks/gateway.py [--small] [--only rate,tail,...]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import attrs
from asking import INPUT_USD, MAX_TOKENS, OUTPUT_USD, arrays, question, run_pipeline
from odd_answers import measure_odd, measure_pictures

from sgforge.testing.fake_provider import FAULTS

LATENCY = 0.2
BARS = {"rate_100": 0.85, "rate_400": 0.85, "compat_100": 0.75, "tail": 0.9, "limit_s": 10.0, "limit_tries": 1.3}
BARS |= {"warm_s": 5.0, "odd_readable_lost": 0, "odd_asked_twice": 0, "odd_ledger_of_bill": 1.0}
BARS |= {"resume_s": 4.0, "resume_known_s": 4.0, "resume_calls": 395}
BARS |= {"odd_commit_ms_median": 50.0, "pictures_share": 0.85, "pictures_cpu_ms": 15.0}
KILL_IN_FLIGHT = 16


@attrs.define
class Server:
    """The fake provider in its own process."""

    process: subprocess.Popen
    url: str

    @classmethod
    @contextlib.contextmanager
    def start(cls, *arguments: str):
        command = [sys.executable, "-m", "sgforge.testing.fake_provider", "--port", "0", "--uvloop", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
                yield cls(process, f"{found.group()}/v1")
            finally:
                process.terminate()

    def ledger(self, entries: bool = False) -> dict:
        with urllib.request.urlopen(
            f"{self.url.removesuffix('/v1')}/ledger{'?entries' if entries else ''}"
        ) as response:
            return json.load(response)

    def rate(self, since: int = 0) -> float:
        """Answers a second over the entries from number `since` on."""
        entries = [entry for entry in self.ledger(True)["entries"][since:] if entry["result"] == "answered"]
        return len(entries) / (max(entry["done"] for entry in entries) - min(entry["at"] for entry in entries))

    def count(self) -> int:
        return len(self.ledger(True)["entries"])


async def bare_sdk(url: str, items: int, in_flight: int) -> None:
    """What a careful user writes by hand: the SDK, its aiohttp transport, a semaphore, every answer read."""
    import openai

    limit = asyncio.Semaphore(in_flight)
    async with openai.AsyncOpenAI(
        api_key="k", base_url=url, max_retries=0, http_client=openai.DefaultAioHttpClient()
    ) as client:

        async def one(number: int) -> str:
            text = question(f"bare {number:06}").messages[0].parts[0].text
            async with limit:
                answer = await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": text}], max_completion_tokens=MAX_TOKENS
                )
            return answer.choices[0].message.content

        await asyncio.gather(*(one(number) for number in range(items)))


def rates(in_flight: int, items: int, rounds: int, *knobs: str) -> dict[str, float]:
    """Rates of the bare SDK, of openai/ and of compat/ in the engine, taking turns: medians of the rounds."""
    found: dict[str, list[float]] = {"bare": [], "openai": [], "compat": []}
    with Server.start("--latency", str(LATENCY), *knobs) as server:
        for _ in range(rounds):
            since = server.count()
            asyncio.run(bare_sdk(server.url, items, in_flight))
            found["bare"].append(server.rate(since))
            for provider in ("openai", "compat"):
                since = server.count()
                with tempfile.TemporaryDirectory() as folder:
                    run_pipeline(Path(folder) / "d", server.url, items, f"{provider}/m", in_flight)
                found[provider].append(server.rate(since))
    return {name: statistics.median(values) for name, values in found.items()}


def measure_rates(small: bool) -> dict[str, float]:
    rounds = 1 if small else 3
    at_100 = rates(100, 1000 if small else 3000, rounds)
    at_400 = rates(400, 2000 if small else 8000, rounds)
    return {
        "rate_100": at_100["openai"] / at_100["bare"],
        "rate_400": at_400["openai"] / at_400["bare"],
        "compat_100": at_100["compat"] / (100 / LATENCY),
        "compat_100_of_bare": at_100["compat"] / at_100["bare"],
        "bare_100_per_s": at_100["bare"],
        "bare_400_per_s": at_400["bare"],
        "openai_400_per_s": at_400["openai"],
        "compat_400_per_s": at_400["compat"],
    }


def measure_tail(small: bool) -> dict[str, float]:
    """2 % of answers take 3 s."""
    found = rates(100, 1000 if small else 3000, 1 if small else 3, "--slow-share", "0.02", "--slow", "3")
    return {"tail": found["openai"] / found["bare"], "tail_bare_per_s": found["bare"]}


def measure_limit(small: bool) -> dict[str, float]:
    """50 requests a second in fixed windows, Retry-After 1, 400 items; the worst of the rounds."""
    seconds, tries, lost = [], [], 0
    for _ in range(1 if small else 5):
        with (
            Server.start("--latency", str(LATENCY), "--limit", "50") as server,
            tempfile.TemporaryDirectory() as folder,
        ):
            report, _ = run_pipeline(Path(folder) / "d", server.url, 400, "openai/m", 100)
            entries = server.ledger(True)["entries"]
            seconds.append(max(entry["done"] for entry in entries) - min(entry["at"] for entry in entries))
            tries.append(len(entries) / 400)
            lost += report.steps[-1].counts.failed
    return {"limit_s": max(seconds), "limit_tries": max(tries), "limit_lost": lost}


def measure_warm(small: bool) -> dict[str, float]:
    """The same run again; the journal's answers gone and only the cache left; one item more."""
    items = 1000 if small else 10_000
    with Server.start() as server, tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "d"
        run_pipeline(dataset, server.url, items, "compat/m", 100)
        calls = server.count()
        _, warm = run_pipeline(dataset, server.url, items, "compat/m", 100)
        other = Path(folder) / "other"
        other.mkdir()
        (dataset / "responses.sqlite").rename(other / "responses.sqlite")
        _, from_cache = run_pipeline(other, server.url, items, "compat/m", 100)
        repeated = server.count() - calls
        run_pipeline(Path(folder) / "h", server.url, 100, "compat/n", 100)
        calls = server.count()
        run_pipeline(Path(folder) / "h", server.url, 101, "compat/n", 100)
        return {
            "warm_s": warm,
            "warm_from_cache_s": from_cache,
            "warm_calls": repeated,
            "one_more_calls": server.count() - calls,
        }


def measure_kills(small: bool) -> dict[str, float]:
    """SIGKILL at a random moment, then a re-run to the end: calls repeated, and arrays against an undisturbed run."""
    items, chance = 150, random.Random(1)
    repeats, differing, unfinished = [], 0, 0
    with Server.start("--latency", "0.05") as server, tempfile.TemporaryDirectory() as folder:
        work_in_child(Path(folder) / "whole", server.url, items)
        whole = arrays(Path(folder) / "whole")
        for number in range(5 if small else 30):
            dataset, before = Path(folder) / f"{number}", server.count()
            child = start_child(dataset, server.url, items)
            time.sleep(chance.uniform(0.2, 2.5))
            child.send_signal(signal.SIGKILL)
            child.wait()
            work_in_child(dataset, server.url, items)
            entries = server.ledger(True)["entries"][before:]
            asked = Counter(entry["question"] for entry in entries)
            repeats.append(sum(asked.values()) - len(asked))
            unfinished += len(asked) != items
            differing += arrays(dataset) != whole
    return {
        "kills": len(repeats),
        "kill_repeats_most": max(repeats),
        "kill_in_flight": KILL_IN_FLIGHT,
        "kill_differing": differing + unfinished,
    }


def measure_resume(small: bool) -> dict[str, float]:
    """605 items that are answered and 395 that are not, 50 in flight, 0.2 s an answer, in a process of its own.

    Timed from the end of the imports to the end of the run, twice: where the answers alone are left (a run that was
    killed before it published), and where the dataset knows them. At least 395 / 50 * 0.2 = 1.6 s of it is waiting.
    """
    cached, items = 605, 1000
    with Server.start("--latency", str(LATENCY)) as server, tempfile.TemporaryDirectory() as folder:
        known, answers = Path(folder) / "known", Path(folder) / "answers"
        run_pipeline(known, server.url, cached, "compat/m", 50)
        answers.mkdir()
        shutil.copyfile(known / "responses.sqlite", answers / "responses.sqlite")
        found: dict[str, float] = {}
        calls = 0
        for name, dataset in (("resume_s", answers), ("resume_known_s", known)):
            before, started = server.count(), time.perf_counter()
            child = start_child(dataset, server.url, items, in_flight=50)
            found[f"{name.removesuffix('_s')}_start_up_s"] = time.perf_counter() - started
            started = time.perf_counter()
            if child.stdout.readline().strip() != "done":
                raise SystemExit(f"a run did not end well in {dataset}")
            found[name] = time.perf_counter() - started
            found[name.replace("_s", "_cpu_s")] = float(child.stdout.readline())
            child.wait()
            calls += server.count() - before
    return {**found, "resume_ideal_s": (items - cached) / 50 * LATENCY, "resume_calls": calls / 2}


def start_child(dataset: Path, url: str, items: int, in_flight: int = KILL_IN_FLIGHT) -> subprocess.Popen:
    """A run in a process of its own, past its imports."""
    command = [sys.executable, str(Path(__file__).with_name("asking.py")), str(dataset), url, str(items)]
    child = subprocess.Popen([*command, "compat/m", str(in_flight)], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


def work_in_child(dataset: Path, url: str, items: int) -> None:
    child = start_child(dataset, url, items)
    if child.stdout.readline().strip() != "done" or child.wait() != 0:
        raise SystemExit(f"a run did not end well in {dataset}")


def measure_soak(small: bool) -> dict[str, float]:
    """30 % faults of all kinds mixed, a budget: every item ends, no answer is bought twice, the bill stays under it."""
    items, budget = (300 if small else 2000), 5.0
    share = 0.3 / len(FAULTS)
    faults = [word for fault in FAULTS for word in ("--fault", f"{fault}={share}")]
    with Server.start("--latency", "0.02", "--retry-after", "0.2", *faults) as server:
        with tempfile.TemporaryDirectory() as folder:
            report, seconds = run_pipeline(
                Path(folder) / "d",
                server.url,
                items,
                "openai/m",
                100,
                budget_usd=budget,
                timeout_s=2.0,
                deadline_s=120.0,
            )
        ledger = server.ledger(True)
    counts = report.steps[-1].counts
    billed = sum(
        (entry["input_tokens"] * INPUT_USD + entry["output_tokens"] * OUTPUT_USD) / 1e6
        for entry in ledger["entries"]
        if entry["result"] != "rejected"
    )
    return {
        "soak_unended": items - counts.computed - counts.failed,
        "soak_failed": counts.failed,
        "soak_reasons": dict(report.steps[-1].reasons),
        "soak_answered_twice": ledger["repeated"],
        "soak_over_budget": float(billed > budget),
        "soak_s": seconds,
    }


PARTS = {
    "rate": measure_rates,
    "tail": measure_tail,
    "limit": measure_limit,
    "warm": measure_warm,
    "kill": measure_kills,
    "resume": measure_resume,
    "soak": measure_soak,
    "odd": measure_odd,
    "pictures": measure_pictures,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="fewer items and rounds")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    args = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "not-a-key")
    found: dict[str, object] = {}
    for name in args.only.split(","):
        found |= PARTS[name](args.small)
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}
    print(json.dumps({"benchmark": "gateway", **rounded, "bars": BARS}))


if __name__ == "__main__":
    main()
