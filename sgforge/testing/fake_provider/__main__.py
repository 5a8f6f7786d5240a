"""Run the fake provider in this process: `python -m sgforge.testing.fake_provider --port 8800`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from sgforge.testing.fake_provider.faults import FAULTS, FakeSettings
from sgforge.testing.fake_provider.server import FakeProvider


def main() -> int:
    """Serve until interrupted; the first line on stdout tells the address."""
    args = _parser().parse_args()
    shares = {name: float(value) for name, _, value in (text.partition("=") for text in args.fault)}
    settings = FakeSettings(
        latency_s=args.latency,
        slow_share=args.slow_share,
        slow_s=args.slow,
        limit=args.limit,
        window_s=args.window,
        retry_after_s=args.retry_after,
        batch_delay_s=args.batch_delay,
        shares=shares,
        seed=args.seed,
    )
    fake = FakeProvider(settings=settings, port=args.port)
    with contextlib.suppress(KeyboardInterrupt):
        _runner(args.uvloop)(_serve(fake))
    return 0


async def _serve(fake: FakeProvider) -> None:
    serving = asyncio.create_task(fake.serve())
    while not fake.started and not serving.done():
        await asyncio.sleep(0.01)
    if fake.started:
        sys.stdout.write(f"listening on {fake.anthropic_url} (OpenAI-compatible: {fake.openai_url})\n")
        sys.stdout.flush()
    await serving


def _runner(uvloop_wanted: bool) -> Callable[[Coroutine[Any, Any, None]], None]:
    if not uvloop_wanted:
        return asyncio.run
    uvloop = importlib.import_module("uvloop")
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sgforge.testing.fake_provider", description=__doc__)
    parser.add_argument("--port", type=int, default=8800, help="port on 127.0.0.1, 0 for a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per answer")
    parser.add_argument("--slow-share", type=float, default=0.0, help="share of answers that are slow")
    parser.add_argument("--slow", type=float, default=3.0, help="seconds of a slow answer")
    parser.add_argument("--limit", type=int, help="requests let in per window, others get 429")
    parser.add_argument("--window", type=float, default=1.0, help="seconds of a window")
    parser.add_argument("--retry-after", type=float, default=1.0, help="Retry-After of a 429")
    parser.add_argument("--batch-delay", type=float, default=0.0, help="seconds until a batch has ended")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--uvloop", action="store_true", help="use uvloop, if it is installed")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
