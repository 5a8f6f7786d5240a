"""`sgforge ledger PATH`: what paid answers have cost, and the calls that are counted though no answer came."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from sgforge.cli.spent import as_json, ledger_of, lines, lost_of
from sgforge.errors import ConfigError
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.models.money.ledger import LostCall

_EXAMPLES = """\
A call whose answer was lost on its way, or whose process was killed, stays in the ledger at the most it can have cost.
The vendor's own page of usage shows which of them it has billed; those that it has not can be let go.

examples:
  sgforge ledger runs/svg                     sums by model, then every call without an answer
  sgforge ledger answers.sqlite --json        of a responses file that several datasets share
  sgforge ledger runs/svg --release 2d        free what is held for calls older than two days, such as 90m, 12h, 2d"""
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("path", metavar="PATH", type=Path, help="a dataset's folder, or a responses file")
    parser.add_argument(
        "--release", metavar="AGE", help="let go of calls without an answer that are older, as 12h or 2d"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the ledger, after letting go of what is to be."""
    responses: Path = args.path / "responses.sqlite" if args.path.is_dir() else args.path
    if args.path.is_dir() and responses.is_symlink():
        raise ConfigError(f"{responses} is a link to elsewhere: refused; give the file itself")
    if not responses.is_file():
        raise ConfigError(f"{args.path}: there is no responses file: give a dataset's folder, or the file")
    released = None if args.release is None else asyncio.run(_release(responses, _seconds(args.release)))
    ledger, lost = ledger_of(responses), lost_of(responses)
    if args.json:
        calls = [attrs.asdict(call) for call in lost]
        print(json.dumps({"models": as_json(ledger), "lost": calls, "released": released}))
        return 0
    if released is not None:
        print(f"let go of {counted(released, 'call')}")
    print("\n".join([*lines(ledger), *_lost_lines(lost)] or ["nothing was bought yet"]))
    return 0


def _seconds(age: str) -> float:
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise ConfigError(f"--release {age!r} must be an age such as 90m, 12h or 2d")
    return float(found.group(1)) * _SECONDS[found.group(2)]


async def _release(responses: Path, age: float) -> int:
    from sgforge.models.cache.store import Store
    from sgforge.models.money.ledger import lost_calls, release_calls

    with Store(responses) as store:
        return await store.write(release_calls(lost_calls(store, before=time.time() - age)))


def _lost_lines(lost: list[LostCall]) -> Iterator[str]:
    for call in lost:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(call.at))
        held = "of unknown price" if call.usd is None else f"${call.usd:.6f}"
        why = call.reason or "never closed: under way, or its process was killed"
        yield f"call {call.id}  {at}  {call.model}  {call.kind}  {held}  {visible(why)}"
